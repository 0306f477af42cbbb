// The names of a kernel while it is decoded: registers by the block of braces that declares them, constants by their value, variables.
#pragma once
#include <map>
#include "program.h"

namespace ptx
{
struct Register
{
    Ref ref;
    int bytes;                  // of a lane's value; 0 for a predicate
};

// What a variable's name stands for as a number: an offset within its window, or the address of what it is.
struct Symbol
{
    uint64_t address;
    int64_t bytes;
};

class Scope
{
public:
    explicit Scope(Kernel& kernel);

    void open() { _registers.emplace_back(); }
    void close() { _registers.pop_back(); }

    // "%f", 94: registers %f0 to %f93; "%SP", 0: the one.
    void declare(const std::string& name, int count, const std::string& type);
    void declare_shared(const std::string& name, size_t bytes, size_t alignment);
    void declare_local(const std::string& name, size_t bytes, size_t alignment);
    void declare_symbol(const std::string& name, Symbol symbol) { symbols[name] = symbol; }

    const Register* find(const std::string& name);
    Ref constant(uint64_t bits, int bytes);

    std::map<std::string, Symbol> symbols;
    std::map<std::string, const Parameter*> parameters;

private:
    Ref allocate(size_t bytes);
    Ref special(const std::string& name);

    struct Range
    {
        std::string name;
        int count, bytes;
        std::vector<Ref> refs;          // made when first asked for
    };

    Kernel& _kernel;
    std::vector<std::map<std::string, Range>> _registers;
    std::map<std::string, Register> _special;
    std::map<std::pair<uint64_t, int>, Ref> _constants;
    size_t _sharedEnd = FirstShared;
};

// Bytes of a lane's value of a type such as "f32"; 0 for "pred".
int bytes_of(const std::string& type);
}
