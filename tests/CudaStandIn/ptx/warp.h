// 32 lanes of a block. Lanes that are at the same instruction run it together; where a branch has parted them, those that are furthest behind go first,
// so that they meet again as soon as they can.
#pragma once
#include <string>
#include <vector>
#include "memory.h"
#include "program.h"

namespace ptx
{
struct Block;

// Lanes that are at an instruction, and perhaps wait there for others.
struct Group
{
    uint32_t pc, lanes;
    bool waits;
};

// A cp.async that has not happened yet.
struct PendingCopy
{
    int lane, group;            // the lane's own number of the group
    uint64_t source;
    uint32_t target;
    int bytes, read;
};

struct Warp
{
    static constexpr uint32_t End = ~0u;

    char* bases[2];             // of registers and of constants: see Ref
    uint32_t active;            // lanes that run now
    uint32_t alive;
    uint32_t pc, next, limit;   // the instruction that runs, the one behind, and where other lanes wait to go on
    std::vector<Group> parked;

    Block* block;
    int index;
    std::vector<char> registers, local;

    // Barriers: the warp has arrived at one, and goes through it when the block says so.
    int barrier = -1;
    bool isReleased = false;
    int predicates = 0;         // the sum of a barrier that counts
    uint32_t aliveAtRetry = 0;  // when lanes that all wait were last let try again

    std::vector<PendingCopy> copies;
    int copyGroup[Lanes];

    const Instruction& at(uint32_t pc) const;

    // Runs until all lanes have ended or wait at a barrier of the block, or so many instructions.
    void run(int64_t budget);

    // For an instruction that `needed` lanes do together: false, and the lanes that are here wait, until all of them are.
    bool gather(uint32_t needed);

    // Goes on at `target` with some of the active lanes, and at the next instruction with the others.
    void part(uint32_t taken, uint32_t target);

    bool has_ended() const { return alive == 0; }

private:
    bool choose();
    void park();
    std::string where_lanes_wait() const;
};

// What went wrong, at the instruction that runs.
[[noreturn]] void fail(const Warp& warp, const std::string& what);
[[noreturn]] void fail_at(const Warp& warp, int lane, const std::string& what);
}
