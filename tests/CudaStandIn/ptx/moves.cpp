// mov, also into and out of halves of a register, and cvta.
#include "decoder.h"
#include "lanes.h"

namespace ptx
{
namespace
{
template <class T> void move(Warp& w, const Instruction& i) { put(w, lanes<T>(w, i.operands[0]), lanes<T>(w, i.operands[1])); }

void move_predicate(Warp& w, const Instruction& i) { put_predicate(w, i.operands[0], predicate(w, i.operands[1])); }

// T, of N parts.
template <class T, class Part, int N> void pack(Warp& w, const Instruction& i)
{
    each<T>(w, i.operands[0], [&](int l)
    {
        T value = 0;
        for (int n = 0; n < N; n++)
        {
            value = T(value | T(lanes<Part>(w, i.operands[1 + n])[l]) << (8 * sizeof(Part) * size_t(n)));
        }

        return value;
    });
}

template <class T, class Part, int N> void unpack(Warp& w, const Instruction& i)
{
    const T* from = lanes<T>(w, i.operands[N]);
    Part values[N][Lanes];
    for (int n = 0; n < N; n++)
    {
        for (int l = 0; l < Lanes; l++)
        {
            values[n][l] = Part(from[l] >> (8 * sizeof(Part) * size_t(n)));
        }
    }

    for (int n = 0; n < N; n++)
    {
        put(w, lanes<Part>(w, i.operands[n]), values[n]);
    }
}

void decode_parts(Decoder& d, const std::string& type)
{
    const bool packs = d.text(1)[0] == '{';
    const std::vector<std::string> parts = d.vector(d.text(packs ? 1 : 0));
    const int bytes = bytes_of(type), part = bytes / int(parts.size());
    const std::string partType = "b" + std::to_string(8 * part);
    if (packs)
    {
        d.write(0, bytes);
    }

    for (const std::string& text : parts)
    {
        d.add(packs ? d.value(text, partType) : d.written(text, part));
    }

    if (!packs)
    {
        d.read(1, type);
    }

    Execute execute = nullptr;
    if (bytes == 8 && part == 4)
    {
        execute = packs ? &pack<uint64_t, uint32_t, 2> : &unpack<uint64_t, uint32_t, 2>;
    }
    else if (bytes == 8 && part == 2)
    {
        execute = packs ? &pack<uint64_t, uint16_t, 4> : &unpack<uint64_t, uint16_t, 4>;
    }
    else if (bytes == 4 && part == 2)
    {
        execute = packs ? &pack<uint32_t, uint16_t, 2> : &unpack<uint32_t, uint16_t, 2>;
    }
    else
    {
        d.fail("the parts are not known");
    }

    d.emit(execute);
}

// A generic address and one within a window differ by where the window lies.
void add_window(Warp& w, const Instruction& i)
{
    const uint64_t* a = lanes<uint64_t>(w, i.operands[1]);
    const uint64_t by = uint64_t(i.immediate);
    each<uint64_t>(w, i.operands[0], [=](int l) { return a[l] + by; });
}

void decode_address(Decoder& d)
{
    const bool leaves = d.take("to");
    d.take("u64");
    const uint64_t window = d.take("shared") ? SharedWindow : d.take("local") ? LocalWindow : d.take("global") || d.take("const") ? 0 : ~0ull;
    if (window == ~0ull)
    {
        return;
    }

    d.write(0, 8);
    d.read(1, "u64");
    d.emit(&add_window, int64_t(leaves ? 0 - window : window));
}
}

void decode_moves(Decoder& d)
{
    if (d.name() == "cvta")
    {
        decode_address(d);
    }

    if (d.name() != "mov")
    {
        return;
    }

    const std::string type = d.take_last();
    if (type == "pred")
    {
        d.add(d.predicate(d.text(0)));
        d.add(d.predicate(d.text(1)));
        d.emit(&move_predicate);
        return;
    }

    if (d.text(0)[0] == '{' || d.text(1)[0] == '{')
    {
        decode_parts(d, type);
        return;
    }

    const int bytes = bytes_of(type);
    d.write(0, bytes);
    d.read(1, type);
    d.emit(bytes == 8 ? &move<uint64_t> : bytes == 4 ? &move<uint32_t> : &move<uint16_t>);
}
}
