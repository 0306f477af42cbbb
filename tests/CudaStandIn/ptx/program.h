// A PTX module, decoded: all that a launch needs, and nothing that would have to be looked up by name.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace ptx
{
struct Warp;
struct Instruction;
using Execute = void (*)(Warp&, const Instruction&);

constexpr int Lanes = 32;

// Where an operand's 32 values lie, one behind the other: bytes from the warp's registers, or with the lowest bit set from the kernel's constants.
// A predicate is one word with a bit for each lane.
using Ref = uint32_t;
constexpr Ref NoRef = ~1u;

enum class Space : uint8_t { Global, Shared, Local, Generic };

// ReadOnly is ld.global.nc, which may not see what the launch writes.
enum class Use : uint8_t { Read, ReadOnly, Write };

// How an instruction reaches memory: its first operand is the address.
struct Access
{
    Space space;
    uint8_t addressBytes;       // of its register: 4 or 8
    uint8_t count;              // of values, one behind the other
    uint8_t bytes;              // of one
    Use use;
};

struct Instruction
{
    Execute execute;
    const Ref* operands;
    int64_t immediate;          // of an address, a branch's target, a table: what the executor says
    Ref guard;                  // NoRef for none
    bool guardNegated;
    int line;                   // in the PTX
    Access access;
};

struct Parameter
{
    std::string name, type;
    size_t offset, bytes;
};

struct Variable
{
    std::string name;
    size_t offset, bytes;
};

struct Program;

struct Kernel
{
    const Program* program;
    std::string name;
    std::vector<Parameter> parameters;
    size_t parameterBytes = 0;
    int maxThreads = 1024;

    std::vector<Instruction> code;
    std::deque<std::vector<Ref>> operands;      // what the instructions' pointers point into
    size_t registerBytes = 0;
    std::vector<char> constants;

    // Which registers have their values before the first instruction; NoRef where the kernel does not ask for them.
    Ref threadIndex[3], blockSize[3], blockIndex[3], gridSize[3], laneIndex, warpIndex;

    std::vector<Variable> shared;               // at offsets within the shared window
    size_t staticBytes = 0;                     // as a device counts them
    size_t dynamicOffset = 0, localBytes = 0;
};

struct Program
{
    std::string target;
    std::deque<Kernel> kernels;
    std::deque<std::vector<char>> variables;    // .const and .global

    const Kernel* find(const std::string& name) const;
};

// Throws std::runtime_error, which names the line and what of it is not known. For the contraction see contraction.h.
std::shared_ptr<const Program> decode(const std::string& text, unsigned contraction);

// The window of each space among generic addresses, below all that the system maps.
constexpr uint64_t SharedWindow = 1ull << 32, LocalWindow = 2ull << 32, WindowBytes = 1ull << 32;

// Static arrays begin at FirstShared, and dynamic shared memory behind the largest that they can be.
constexpr size_t FirstShared = 1024, FirstDynamic = 128 << 10, SharedBytes = FirstDynamic + (256 << 10), SharedGap = 256;
}
