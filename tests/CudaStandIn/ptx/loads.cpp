// ld and st. A register may be wider than what is loaded into it, which is extended by its sign then.
#include "block.h"
#include "decoder.h"
#include "lanes.h"

namespace ptx
{
namespace
{
template <class T, class R> void load(Warp& w, const Instruction& i)
{
    char* at[Lanes];
    resolve(w, i, i.access.count * i.access.bytes, at);
    R values[4][Lanes];
    each_active(w, [&](int l)
    {
        for (int n = 0; n < i.access.count; n++)
        {
            T value;
            memcpy(&value, at[l] + n * int(sizeof(T)), sizeof(T));
            values[n][l] = R(value);
        }
    });
    for (int n = 0; n < i.access.count; n++)
    {
        put(w, lanes<R>(w, i.operands[1 + n]), values[n]);
    }
}

template <class T, class R> void store(Warp& w, const Instruction& i)
{
    char* at[Lanes];
    resolve(w, i, i.access.count * i.access.bytes, at);
    for (int n = 0; n < i.access.count; n++)
    {
        const R* values = lanes<R>(w, i.operands[1 + n]);
        each_active(w, [&](int l)
        {
            const T value = T(values[l]);
            memcpy(at[l] + n * int(sizeof(T)), &value, sizeof(T));
        });
    }
}

template <class R> void load_parameter(Warp& w, const Instruction& i)
{
    R value;
    memcpy(&value, w.block->launch->parameters + i.immediate, sizeof(R));
    each<R>(w, i.operands[0], [=](int) { return value; });
}

template <class T, class R> Execute executor(bool isLoad) { return isLoad ? &load<T, R> : &store<T, R>; }

template <class T> Execute executor_for(bool isLoad, int registerBytes)
{
    if constexpr (sizeof(T) <= 2)
    {
        if (registerBytes == 2)
        {
            return executor<T, std::conditional_t<std::is_signed_v<T>, int16_t, uint16_t>>(isLoad);
        }
    }

    if constexpr (sizeof(T) <= 4)
    {
        if (registerBytes == 4)
        {
            return executor<T, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>>(isLoad);
        }
    }

    return registerBytes == 8 ? executor<T, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>(isLoad) : nullptr;
}

Execute executor_of(const std::string& type, bool isLoad, int registerBytes)
{
    switch (bytes_of(type))
    {
        case 1: return type == "s8" ? executor_for<int8_t>(isLoad, registerBytes) : executor_for<uint8_t>(isLoad, registerBytes);
        case 2: return type == "s16" ? executor_for<int16_t>(isLoad, registerBytes) : executor_for<uint16_t>(isLoad, registerBytes);
        case 4: return type == "s32" ? executor_for<int32_t>(isLoad, registerBytes) : executor_for<uint32_t>(isLoad, registerBytes);
        default: return executor_for<uint64_t>(isLoad, registerBytes);
    }
}

void decode_parameter(Decoder& d)
{
    const std::string type = d.take_last();
    int64_t offset;
    const Parameter* parameter = d.parameter(d.text(1), &offset);
    const int bytes = bytes_of(type);
    if (offset < 0 || size_t(offset + bytes) > parameter->bytes)
    {
        d.fail("reads beyond a parameter of " + std::to_string(parameter->bytes) + " bytes");
    }

    d.write(0, bytes);
    const int64_t at = int64_t(parameter->offset) + offset;
    d.emit(bytes == 8 ? &load_parameter<uint64_t> : bytes == 4 ? &load_parameter<uint32_t> : bytes == 2 ? &load_parameter<uint16_t> : nullptr, at);
}
}

void decode_memory(Decoder& d)
{
    const bool isLoad = d.name() == "ld";
    if (!isLoad && d.name() != "st")
    {
        return;
    }

    if (isLoad && d.take("param"))
    {
        decode_parameter(d);
        return;
    }

    // Constants lie in memory as all do. Caches, their hints and orders of memory have nothing to be told apart by here.
    const Space space = d.take("global") || d.take("const") ? Space::Global : d.take("shared") ? Space::Shared : d.take("local") ? Space::Local : Space::Generic;
    const Use use = d.take("nc") ? Use::ReadOnly : isLoad ? Use::Read : Use::Write;
    for (const char* hint : {"ca", "cg", "cs", "cv", "lu", "wb", "wt", "volatile", "relaxed", "acquire", "release", "weak", "gpu", "cta", "sys"})
    {
        d.take(hint);
    }

    const int count = d.take("v2") ? 2 : d.take("v4") ? 4 : 1;
    const std::string type = d.take_last();
    const int bytes = bytes_of(type);
    const std::vector<std::string> values = d.vector(d.text(isLoad ? 0 : 1));
    if (int(values.size()) != count)
    {
        d.fail("has " + std::to_string(values.size()) + " values and not " + std::to_string(count));
    }

    d.access(d.text(isLoad ? 1 : 0), space, count, bytes, use);
    int registerBytes = bytes < 2 ? 2 : bytes;
    for (const std::string& value : values)
    {
        registerBytes = value[0] == '%' ? d.register_of(value).bytes : registerBytes;
    }

    for (const std::string& value : values)
    {
        d.add(isLoad ? d.written(value, registerBytes) : d.value(value, (type[0] == 'f' ? "f" : "b") + std::to_string(8 * registerBytes)));
    }

    const Execute execute = executor_of(type, isLoad, registerBytes);
    if (!execute)
    {
        d.fail("registers of " + std::to_string(8 * registerBytes) + " bits hold no ." + type);
    }

    d.emit(execute);
}
}
