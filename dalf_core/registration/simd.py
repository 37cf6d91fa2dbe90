"""Products of 6x6 blocks whose rows are padded to 8 float32, one vector register each.

Written in LLVM's vector types, since numba does not vectorise loops as short as these: four times faster. LLVM brings them to any machine.
All arguments are C-contiguous float32 arrays: block (6, 8), the others (8,), the last two entries being zero.
"""
from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiled import REORDERED

PADDED = 8
_ROW = ir.VectorType(ir.FloatType(), PADDED)
_REORDERED = tuple(sorted(REORDERED))        # flags of each operation: NaN must stay NaN


def _pointer(context, builder, kind, array, index):
    """To entry `index` of an array's data."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [ir.Constant(ir.IntType(64), index)])


def _row(context, builder, kind, array, p=0):
    """Pointer to row p of a block, as a vector."""
    return builder.bitcast(_pointer(context, builder, kind, array, p * PADDED), _ROW.as_pointer())


def _everywhere(builder, scalar):
    """A vector of one number."""
    undefined = ir.Constant(_ROW, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), PADDED), [0] * PADDED))


def _multiply_add(builder, total, vector, scalar):
    return builder.fadd(total, builder.fmul(vector, _everywhere(builder, scalar), flags=_REORDERED), flags=_REORDERED)


@intrinsic
def add_outer(_context, block, column, row, _scale):
    """block[p, q] += scale * column[p] * row[q]; scale, the last argument, is float32."""
    def generate(context, builder, signature, arguments):
        kinds = signature.args
        scaled = builder.load(_row(context, builder, kinds[2], arguments[2]), align=4)
        scaled = builder.fmul(scaled, _everywhere(builder, arguments[3]), flags=_REORDERED)
        factors = [builder.load(_pointer(context, builder, kinds[1], arguments[1], p)) for p in range(6)]
        for p, factor in enumerate(factors):
            place = _row(context, builder, kinds[0], arguments[0], p)
            builder.store(_multiply_add(builder, builder.load(place, align=4), scaled, factor), place, align=4)
        return context.get_dummy_value()

    return types.void(block, column, row, types.float32), generate


@intrinsic
def add_product(_context, block, x, out):
    """out[q] += sum over p of block[p, q] * x[p]"""
    def generate(context, builder, signature, arguments):
        kinds = signature.args
        place = _row(context, builder, kinds[2], arguments[2])
        total = builder.load(place, align=4)
        for p in range(6):
            vector = builder.load(_row(context, builder, kinds[0], arguments[0], p), align=4)
            total = _multiply_add(builder, total, vector, builder.load(_pointer(context, builder, kinds[1], arguments[1], p)))
        builder.store(total, place, align=4)
        return context.get_dummy_value()

    return types.void(block, x, out), generate
