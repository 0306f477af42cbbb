#include "launch.h"
#include <algorithm>
#include "../fibers/launch.h"

namespace ptx
{
namespace
{
// Blocks that are under way at once where their order is by chance.
constexpr uint64_t Resident = 4;
}

void run(const Launch& launch)
{
    static thread_local Block blocks[Resident];
    const uint64_t count = launch.grid.all(), resident = launch.schedule == fibers::Schedule::Shuffled ? std::min(Resident, count) : 1;
    uint64_t next = 0;
    fibers::Random random(count);
    auto begin = [&](Block& block)
    {
        const uint64_t i = fibers::block_at(next++, count, launch.schedule);
        block.begin({uint32_t(i % launch.grid.x), uint32_t(i / launch.grid.x % launch.grid.y), uint32_t(i / (uint64_t(launch.grid.x) * launch.grid.y))}, i * 7919 + 17);
    };
    forget_marks();
    std::vector<Block*> running;
    for (uint64_t r = 0; r < resident; r++)
    {
        blocks[r].prepare(launch);
        begin(blocks[r]);
        running.push_back(&blocks[r]);
    }

    while (!running.empty())
    {
        const size_t at = resident > 1 ? random.next(unsigned(running.size())) : 0;
        try
        {
            if (running[at]->advance())
            {
                continue;
            }
        }
        catch (const std::exception& e)
        {
            throw std::runtime_error("kernel " + launch.kernel->name + ", " + running[at]->name() + ", " + e.what());
        }

        if (next < count)
        {
            begin(*running[at]);
        }
        else
        {
            running.erase(running.begin() + long(at));
        }
    }
}
}
