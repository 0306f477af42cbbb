#include "launch.h"
#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include "block.h"
#include "faults.h"
#include "sites.h"

namespace fibers
{
namespace
{
std::deque<KernelEntry>& kernels()
{
    static std::deque<KernelEntry> all;     // whose elements stay where they are
    return all;
}

std::map<std::string, unsigned long long>& sources()
{
    static std::map<std::string, unsigned long long> all;
    return all;
}

int s_osThreads = 1;

dim3 index_of(uint64_t i, dim3 grid)
{
    return {unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / (uint64_t(grid.x) * grid.y))};
}
}

uint64_t block_at(uint64_t step, uint64_t count, Schedule schedule)
{
    switch (schedule)
    {
        case Schedule::Reverse:
        case Schedule::GreedyBackward:
            return count - 1 - step;
        case Schedule::Shuffled:
        {
            uint64_t stride = count * 5 / 8 | 1;
            while (std::__gcd(stride, count) != 1)
            {
                stride += 2;
            }

            return (step * stride + count / 3) % count;
        }
        default:
            return step;
    }
}

const KernelEntry* find_kernel(const std::string& file, const std::string& name, const std::string& variant)
{
    for (const KernelEntry& kernel : kernels())
    {
        if ((file.empty() || kernel.file == file) && kernel.name == name && kernel.variant == variant)
        {
            return &kernel;
        }
    }

    return nullptr;
}

std::vector<std::string> kernels_of(const std::string& file, const std::string& variant)
{
    std::vector<std::string> names;
    for (const KernelEntry& kernel : kernels())
    {
        if (kernel.file == file && kernel.variant == variant)
        {
            names.push_back(kernel.name);
        }
    }

    return names;
}

unsigned long long source_hash(const std::string& file)
{
    const auto found = sources().find(file);
    return found == sources().end() ? 0 : found->second;
}

void set_os_threads(int count) { s_osThreads = count; }

void launch(const KernelEntry& kernel, dim3 grid, dim3 size, size_t dynamicBytes, void** arguments, Schedule schedule)
{
    catch_faults();
    const uint64_t count = uint64_t(grid.x) * grid.y * grid.z;
    std::atomic<uint64_t> next{0};
    std::mutex gate;
    std::string error;
    watch_kernel(kernel.name);
    auto work = [&]
    {
        static thread_local std::unique_ptr<Block> block = std::make_unique<Block>();
        const TimedLaunch timed;
        try
        {
            for (uint64_t step; (step = next++) < count;)
            {
                const uint64_t i = block_at(step, count, schedule);
                block->run(kernel.invoke, arguments, {index_of(i, grid), size, grid}, dynamicBytes, schedule, i * 7919 + 17);
            }
        }
        catch (const std::exception& e)
        {
            std::lock_guard lock(gate);
            error = e.what();
            next = count;
        }
    };

    const int threads = count < 8 ? 1 : s_osThreads;
    if (threads <= 1)
    {
        work();
    }
    else
    {
        std::vector<std::thread> others;
        for (int i = 0; i < threads; i++)
        {
            others.emplace_back(work);
        }

        for (std::thread& other : others)
        {
            other.join();
        }
    }

    if (!error.empty())
    {
        throw std::runtime_error("kernel " + kernel.name + ", " + error);
    }
}
}

void shim::register_kernel(const char* file, const char* name, const char* variant, Invoker invoke, const size_t* sizes, int count, int launchBound)
{
    fibers::kernels().push_back({file, name, variant, invoke, std::vector<size_t>(sizes, sizes + count), launchBound});
}

void shim::register_source(const char* file, unsigned long long hash) { fibers::sources()[file] = hash; }
