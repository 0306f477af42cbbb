// A block: its warps, their shared memory and their barriers.
#pragma once
#include <vector>
#include "../fibers/schedule.h"
#include "warp.h"

namespace ptx
{
struct Size
{
    uint32_t x, y, z;

    uint64_t all() const { return uint64_t(x) * y * z; }
};

// A launch: what all its blocks have in common.
struct Launch
{
    const Kernel* kernel;
    Size grid, block;
    size_t dynamicBytes;
    const char* parameters;
    fibers::Schedule schedule;
};

struct Barrier
{
    int arrived = 0;            // threads
    int wanted = 0;             // 0: all of the block
    int predicates = 0;
};

struct Block
{
    const Launch* launch = nullptr;
    const Kernel* kernel = nullptr;
    std::vector<Warp> warps;
    std::vector<Range> cached;          // for each instruction, where it last found its memory
    std::vector<Barrier> barriers;
    char* shared;                       // the shared window's first byte
    fibers::CopyTime copyTime;
    fibers::Random random{1};

    Block();
    ~Block();
    Block(const Block&) = delete;

    void prepare(const Launch& launch);

    // Starts the next block; then each warp runs up to its barrier, or some way by chance, until the block has ended.
    void begin(Size index, uint64_t seed);
    bool advance();

    // A warp arrives; wanted is in threads, 0 for all that are alive.
    void arrive(Warp& warp, int barrier, int wanted, int predicates);

    std::string name() const;           // "block (0, 0, 0)"

private:
    bool release();
    void poison_shared();
    void check_copies() const;
    Size _index;
};
}
