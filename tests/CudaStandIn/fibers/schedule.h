#pragma once
#include <cstdint>

namespace fibers
{
// The order in which the threads of a block run between two barriers. A kernel without races gives the same bits under all of them.
enum class Schedule : int
{
    LaneOrder = 0,          // thread 0 first, each as far as it can
    Reverse = 1,            // the last thread and the last block first
    Shuffled = 2,           // threads, warps and blocks by chance, with a fixed seed
    GreedyForward = 3,      // one warp as far as it can before the next: shows what is written before the others have read it
    GreedyBackward = 4,     // the same, the last warp first
};

constexpr int ScheduleCount = 5;

// When cp.async takes place under a schedule: at its issue, at the wait for it, or by chance at either.
enum class CopyTime { Issue, Wait, Chance };

inline CopyTime copy_time(Schedule schedule)
{
    switch (schedule)
    {
        case Schedule::Reverse:
        case Schedule::GreedyForward:
            return CopyTime::Issue;
        case Schedule::Shuffled:
            return CopyTime::Chance;
        default:
            return CopyTime::Wait;
    }
}

// xorshift64*: fast, and the same everywhere.
struct Random
{
    uint64_t state;

    explicit Random(uint64_t seed) : state(seed * 0x9E3779B97F4A7C15ull | 1) {}

    unsigned next(unsigned below)
    {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return unsigned((state * 0x2545F4914F6CDD1Dull >> 32) * below >> 32);
    }
};
}
