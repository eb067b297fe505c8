"""Arrays that compiled code makes: as NumPy's functions do, for each use of which numba would compile one of its own.

zeros((3, n), np.float32), empty(n, x.dtype)    arrays (3, n) and (n,), without gaps
bits_of(x), numbers_of(bits)                    the same memory as uint32, as float32

Rows by addresses, since views of rows take longer to make than short rows to compute, and most of the time to compile:

row_at(x, i)                                    the address of a row
copy(to, source, n_bytes), clear(to, n_bytes)   what lies there, or zeros
"""

from typing import Any

from numba.core import cgutils, types
from numba.core.typing.npydecl import parse_dtype
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

compiled: Any = intrinsic  # its own type says that calls never return
array_of: Any = make_array  # it and the next have no types
unpack: Any = cgutils.unpack_tuple
_type_of: Any = parse_dtype
_fill: Any = populate_array
_memset: Any = cgutils.memset
_memcpy: Any = cgutils.raw_memcpy
# Where a line of a cache begins.
_ALIGNMENT = 64


def _made(has_zeros: bool) -> Any:
    @compiled  # type: ignore[untyped-decorator]
    def make(context: Any, shape: Any, kind: Any) -> Any:
        kinds: Any = shape if isinstance(shape, types.BaseTuple) else [shape]
        result = types.Array(_type_of(kind), len(kinds), "C")

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            given = unpack(builder, args[0]) if isinstance(shape, types.BaseTuple) else [args[0]]
            sizes = [context.cast(builder, *each, types.intp) for each in zip(given, kinds, strict=True)]
            number = context.get_data_type(result.dtype)
            n_bytes = context.get_constant(types.intp, context.get_abi_sizeof(number))
            strides: list[Any] = []
            for size in reversed(sizes):
                strides.insert(0, n_bytes)
                n_bytes = builder.mul(n_bytes, size)
            block = context.nrt.meminfo_alloc_aligned(builder, n_bytes, _ALIGNMENT)
            data = builder.bitcast(context.nrt.meminfo_data(builder, block), number.as_pointer())
            if has_zeros:
                _memset(builder, data, n_bytes, 0)
            array = array_of(result)(context, builder)
            return _fill(array, data, sizes, strides, strides[-1], block)._getvalue()

        return result(shape, kind), generate

    return make


zeros, empty = _made(True), _made(False)


def _seen_as(kind: Any) -> Any:
    @compiled  # type: ignore[untyped-decorator]
    def view(context: Any, array: Any) -> Any:
        result = array.copy(dtype=kind)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            own = array_of(array)(context, builder, args[0])
            data = builder.bitcast(own.data, context.get_data_type(kind).as_pointer())
            fields = own.shape, own.strides, own.itemsize, own.meminfo, own.parent
            value = _fill(array_of(result)(context, builder), data, *fields)._getvalue()
            context.nrt.incref(builder, result, value)
            return value

        return result(array), generate

    return view


bits_of, numbers_of = _seen_as(types.uint32), _seen_as(types.float32)


# --- Rows -------------------------------------------------------------------------------------------------------------


@compiled  # type: ignore[untyped-decorator]
def row_at(context: Any, array: Any, row: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        own = array_of(signature.args[0])(context, builder, args[0])
        before = builder.mul(args[1], unpack(builder, own.strides)[0])
        return builder.add(builder.ptrtoint(own.data, before.type), before)

    return types.uintp(array, types.intp), generate


@compiled  # type: ignore[untyped-decorator]
def copy(context: Any, to: Any, source: Any, n_bytes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = (builder.inttoptr(place, cgutils.voidptr_t) for place in args[:2])
        _memcpy(builder, *places, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp), generate


@compiled  # type: ignore[untyped-decorator]
def clear(context: Any, to: Any, n_bytes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _memset(builder, builder.inttoptr(args[0], cgutils.voidptr_t), args[1], 0)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), generate
