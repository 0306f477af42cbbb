#include "launch.h"
#include "../fibers/launch.h"

namespace ptx
{
void run(const Launch& launch)
{
    static thread_local Block block;
    const uint64_t count = launch.grid.all();
    block.prepare(launch);
    for (uint64_t step = 0; step < count; step++)
    {
        const uint64_t i = fibers::block_at(step, count, launch.schedule);
        const Size index{uint32_t(i % launch.grid.x), uint32_t(i / launch.grid.x % launch.grid.y), uint32_t(i / (uint64_t(launch.grid.x) * launch.grid.y))};
        try
        {
            block.run(index, i * 7919 + 17);
        }
        catch (const std::exception& e)
        {
            throw std::runtime_error("kernel " + launch.kernel->name + ", block (" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", "
                + std::to_string(index.z) + "), " + e.what());
        }
    }
}
}
