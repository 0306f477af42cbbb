// What -fsanitize=alignment,bounds,shift-exponent,integer-divide-by-zero calls when a check fails: instead of GCC's own runtime, which
// prints and goes on, the thread fails with the place in the kernel's source.
#include "../shim/threads.h"

namespace
{
struct Place
{
    const char* file;
    uint32_t line, column;
};

struct TypeDescription
{
    uint16_t kind, info;
    char name[1];
};

struct TypeMismatch
{
    Place place;
    const TypeDescription* type;
    unsigned char logAlignment, accessKind;
};

struct OutOfBounds
{
    Place place;
    const TypeDescription *array, *index;
};

struct ShiftOutOfBounds
{
    Place place;
    const TypeDescription *left, *right;
};

struct Overflow
{
    Place place;
    const TypeDescription* type;
};
}

extern "C" void __ubsan_handle_type_mismatch_v1(const TypeMismatch* data, uintptr_t pointer)
{
    shim::fail("%s:%u:%u: %s at %p, which is not aligned to %u bytes", data->place.file, data->place.line, data->place.column,
        data->type->name, reinterpret_cast<void*>(pointer), 1u << data->logAlignment);
}

extern "C" void __ubsan_handle_out_of_bounds(const OutOfBounds* data, uintptr_t index)
{
    shim::fail("%s:%u:%u: index %ld is outside of %s", data->place.file, data->place.line, data->place.column, long(index), data->array->name);
}

extern "C" void __ubsan_handle_shift_out_of_bounds(const ShiftOutOfBounds* data, uintptr_t, uintptr_t by)
{
    shim::fail("%s:%u:%u: a shift of %s by %ld", data->place.file, data->place.line, data->place.column, data->left->name, long(by));
}

extern "C" void __ubsan_handle_divrem_overflow(const Overflow* data, uintptr_t, uintptr_t)
{
    shim::fail("%s:%u:%u: a division of %s by zero", data->place.file, data->place.line, data->place.column, data->type->name);
}
