"""Threads: every item once, as many at a time as there should be, and an orderly end."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from quickstroke.kernels import threads


def each(run, items, device="cpu"):
    return threads.each(run, items, torch.device(device))


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    monkeypatch.setattr(threads, "_n_threads", 2)


def test_each_item_is_run_once_and_what_it_gives_comes_back():
    assert sorted(each(lambda item: 10 * item, range(50))) == [10 * item for item in range(50)]
    assert list(each(lambda item: item, [])) == []


def test_two_items_run_at_a_time_and_not_three():
    both = threading.Barrier(2)
    lock, n_running, seen = threading.Lock(), 0, []

    def run(item):
        nonlocal n_running
        with lock:
            n_running += 1
            seen.append(n_running)
        both.wait(timeout=600)  # would break if one alone ran
        with lock:
            n_running -= 1

    list(each(run, range(8)))
    assert max(seen) == 2


def test_a_thread_of_its_own_has_one_thread_and_no_gradients():
    def run(item):
        here = threading.current_thread() is threading.main_thread()
        return here, threads.n_threads(), torch.get_num_threads(), torch.is_inference_mode_enabled()

    assert set(each(run, range(6))) == {(False, 1, 1, True)}
    assert threads.n_threads() == 2


@pytest.mark.parametrize(("n", "device"), [(1, "cpu"), (2, "meta")])
def test_one_thread_is_the_callers_own_and_another_device_needs_no_more(monkeypatch, n, device):
    monkeypatch.setattr(threads, "_n_threads", n)

    def run(item):
        return item, threading.current_thread() is threading.main_thread(), torch.is_inference_mode_enabled()

    assert list(each(run, "ab", device)) == [("a", True, True), ("b", True, True)]


def test_an_error_comes_to_the_caller_and_nothing_more_is_begun():
    begun = []
    may_end = threading.Event()  # what runs beside the error ends after it

    def run(item):
        begun.append(item)
        if item == 3:
            threading.Timer(0.5, may_end.set).start()
            raise ValueError("three")
        assert item < 3 or may_end.wait(600)

    with pytest.raises(ValueError, match="three"):
        list(each(run, range(1000)))
    assert sorted(begun) in ([0, 1, 2, 3], [0, 1, 2, 3, 4])


def test_a_caller_that_stops_waits_for_what_has_begun():
    ended = []
    may_end = threading.Event()

    def run(item):
        if item:
            assert may_end.wait(600)
        ended.append(item)
        return item

    results = each(run, range(1000))
    assert next(results) == 0
    threading.Timer(0.05, may_end.set).start()
    results.close()
    assert sorted(ended) == [0, 1, 2]


def test_parts_run_side_by_side_the_first_on_the_callers_thread():
    both = threading.Barrier(2)

    def run(a, b):
        both.wait(timeout=600)
        return a + b, threading.current_thread() is threading.main_thread(), torch.is_grad_enabled()

    assert threads.in_threads(run, [(1, 2), (3, 4)]) == [(3, True, False), (7, False, False)]
    assert torch.is_grad_enabled()
    both = threading.Barrier(1)
    assert threads.in_threads(run, [(5, 6)]) == [(11, True, True)]


@pytest.mark.parametrize("broken", [0, 1])
def test_an_error_in_a_part_comes_once_all_have_ended(broken):
    ended = []

    def run(part):
        if part == broken:
            raise ValueError(f"part {part}")
        ended.append(part)

    with pytest.raises(ValueError, match=f"part {broken}"):
        threads.in_threads(run, [(0,), (1,)])
    assert ended == [1 - broken]


@pytest.fixture
def set_threads(monkeypatch):
    """Gives PyTorch a number of threads until the test ends, with nobody in `undisturbed`."""
    monkeypatch.setattr(threads, "_n_threads", None)
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_undisturbed_gives_pytorch_one_thread_and_afterwards_its_own_again(set_threads):
    set_threads(2)
    with threads.undisturbed():
        assert (torch.get_num_threads(), threads.n_threads()) == (1, 2)
    assert (torch.get_num_threads(), threads.n_threads()) == (2, 2)


def test_a_thread_with_a_number_of_its_own_keeps_it(set_threads):
    set_threads(4)
    seen = []

    def other():
        torch.set_num_threads(2)
        with threads.undisturbed():
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())

    with threads.undisturbed():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == [1, 2]


def test_threads_that_are_undisturbed_at_once_leave_the_number_as_it_was(set_threads):
    """The first comes first and goes first: what it finds is not what the second one found."""
    set_threads(3)
    second_is_in, first_is_out = threading.Event(), threading.Event()
    seen = []

    def second():
        with threads.undisturbed():
            seen.append(threads.n_threads())
            second_is_in.set()
            assert first_is_out.wait(60)
            seen.append(threads.n_threads())
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=second)
    with threads.undisturbed():
        thread.start()
        assert second_is_in.wait(60)
    first_is_out.set()
    thread.join()
    assert seen == [3, 3, 3]
    assert threads.n_threads() == 3
    set_threads(2)
    assert threads.n_threads() == 2


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(threads, "n_cores", lambda: 2)


def test_of_two_things_another_thread_does_the_second(two_cores):
    main, begun = threading.main_thread(), threading.Event()

    def here():
        assert begun.wait(timeout=600)
        return threading.current_thread() is main

    def there():
        begun.set()
        return threading.current_thread() is main

    for _ in range(3):  # the same thread is asked again
        assert threads.both(here, there) == (True, False)
        begun.clear()


def test_what_no_other_thread_has_begun_is_done_here(two_cores, monkeypatch):
    class Nobody:
        def put(self, offer):
            pass

    monkeypatch.setattr(threads, "_offers", Nobody())
    here = threading.get_ident
    assert threads.both(here, here) == (here(), here())
    monkeypatch.setattr(threads, "n_cores", lambda: 1)
    monkeypatch.setattr(threads, "_offers", None)
    assert threads.both(here, here) == (here(), here()) and threads._offers is None


def test_an_error_of_either_is_raised_and_the_other_thread_goes_on(two_cores):
    begun = threading.Event()

    def fail():
        begun.set()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        threads.both(lambda: begun.wait(timeout=600), fail)
    with pytest.raises(ValueError, match="no"):
        threads.both(fail, lambda: 1)
    assert threads.both(lambda: 1, lambda: 2) == (1, 2)


def test_several_threads_may_ask_at_a_time(two_cores):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: threads.both(lambda: n, lambda: -n), range(200)))
    assert found == [(n, -n) for n in range(200)]
