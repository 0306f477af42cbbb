// The memory that a kernel may touch, found by its addresses and checked to the byte.
#pragma once
#include <cstdint>
#include <string>

namespace ptx
{
struct Warp;
struct Instruction;

struct Marks;

struct Range
{
    uint64_t first = 1, end = 0;        // none
    Marks* marks = nullptr;             // of what this launch reads and writes there

    bool holds(uint64_t low, uint64_t high) const { return low >= first && high <= end; }
};

// The allocation, or the part of it that has an owner, that an address lies in; an empty range where there is none. Set by the driver.
extern Range (*find_memory)(uint64_t address);

// What lies at an address, in words; set by the driver.
extern std::string (*describe_memory)(const void* address);

// A launch begins, which has neither read nor written anything yet.
void forget_marks();

// Where the active lanes of an instruction reach to: host addresses of `bytes` bytes that the kernel may touch and that are aligned to them.
void resolve(Warp& warp, const Instruction& instruction, int bytes, char** at);

// The same of one address of a lane within the shared window, and of a global one.
char* resolve_shared(Warp& warp, int lane, uint64_t address, int bytes);
char* resolve_global(Warp& warp, int lane, uint64_t address, int bytes);
}
