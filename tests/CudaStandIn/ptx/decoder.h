// One instruction on its way from text to what runs it. Each family of instructions (floats.cpp, memory.cpp, ...) is a function that is given the
// decoder, and says by emitting an instruction that it was one of its own. What it leaves of the modifiers is not known, and an error.
#pragma once
#include <cstring>
#include "scope.h"
#include "statement.h"

namespace ptx
{
struct Address
{
    Ref base;
    int baseBytes;              // 4 or 8
    int64_t offset;
};

class Decoder
{
public:
    Decoder(Kernel& kernel, Scope& scope, const Statement& statement);

    const std::string& name() const { return _statement.words[0]; }

    // Takes a modifier off the opcode, where it is there.
    bool take(const char* modifier);

    // The first of some modifiers that is there, or the last of them without.
    std::string take_one_of(std::initializer_list<const char*> modifiers);

    // The modifiers left, and the last one taken off.
    const std::vector<std::string>& modifiers() const { return _modifiers; }
    std::string take_last();

    size_t count() const { return _statement.operands.size(); }
    const std::string& text(size_t operand) const;

    // The instruction runs for all lanes, and sees to its guard itself.
    std::string take_guard();

    // Operands: registers of exactly so many bytes, numbers as the type reads them. They are the executor's in the order in which they are asked for.
    void write(size_t operand, int bytes) { add(written(text(operand), bytes)); }
    void read(size_t operand, const std::string& type) { add(value(text(operand), type)); }
    void add(Ref ref) { _operands.push_back(ref); }
    Ref written(const std::string& name, int bytes);
    Ref value(const std::string& text, const std::string& type);
    Register register_of(const std::string& name);

    // A predicate "%p1" or "!%p1".
    Ref predicate(const std::string& text, bool* negated = nullptr);
    Address address(const std::string& text);
    int64_t number(const std::string& text) const;
    std::vector<std::string> vector(const std::string& text) const;     // "{a, b}" or "a"
    const Parameter* parameter(const std::string& text, int64_t* offset) const;

    // The instruction is done; a modifier that nobody has taken is an error.
    void emit(Execute execute, int64_t immediate = 0);

    // The same of one that reaches memory: the address is its first operand.
    void access(const std::string& address, Space space, int count, int bytes, Use use);
    bool is_done() const { return _done; }
    Scope& scope() { return _scope; }
    Kernel& kernel() { return _kernel; }

    [[noreturn]] void fail(const std::string& what) const;

private:
    Kernel& _kernel;
    Scope& _scope;
    const Statement& _statement;
    std::vector<std::string> _modifiers;
    std::vector<Ref> _operands;
    Access _access{};
    int64_t _offset = 0;
    bool _done = false, _isUnguarded = false;
};

// The families, in order of how often they are met.
void decode_moves(Decoder&);
void decode_floats(Decoder&);
void decode_integers(Decoder&);
void decode_bits(Decoder&);
void decode_comparisons(Decoder&);
void decode_conversions(Decoder&);
void decode_approximations(Decoder&);
void decode_halves(Decoder&);
void decode_memory(Decoder&);
void decode_atomics(Decoder&);
void decode_async_copies(Decoder&);
void decode_control(Decoder&);
void decode_barriers(Decoder&);
void decode_exchanges(Decoder&);
void decode_tensor_cores(Decoder&);

// Calls f with a value of the type that a name such as "u32" says; false for another name.
template <class F> bool with_integer(const std::string& type, F f)
{
    return type == "s32" ? (f(int32_t()), true) : type == "u32" ? (f(uint32_t()), true)
        : type == "s64" ? (f(int64_t()), true) : type == "u64" ? (f(uint64_t()), true)
        : type == "s16" ? (f(int16_t()), true) : type == "u16" ? (f(uint16_t()), true) : false;
}

template <class F> bool with_bits(const std::string& type, F f)
{
    return type == "b32" ? (f(uint32_t()), true) : type == "b64" ? (f(uint64_t()), true) : type == "b16" ? (f(uint16_t()), true) : false;
}

template <class F> bool with_float(const std::string& type, F f)
{
    return type == "f32" ? (f(float()), true) : type == "f64" ? (f(double()), true) : false;
}
}
