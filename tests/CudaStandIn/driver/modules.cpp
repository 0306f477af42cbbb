// Modules name kernels, which are those the library was built with; launching one.
#include <cstring>
#include <stdexcept>
#include <vector>
#include "../fibers/launch.h"
#include "../nvrtc/image.h"
#include "memory.h"
#include "state.h"
#include "streams.h"

using namespace driver;

namespace
{
constexpr int MaxDynamicShared = 232448, SharedWithoutAsking = 48 * 1024;

struct Function
{
    const fibers::KernelEntry* kernel;
    int dynamicSharedLimit = SharedWithoutAsking;
};

struct Module
{
    nvrtc::Image image;
    std::vector<std::unique_ptr<Function>> functions;
};

void run(const Function& function, dim3 grid, dim3 block, size_t dynamicBytes, const std::vector<std::vector<char>>& arguments)
{
    std::vector<std::vector<char>> own = arguments;     // a kernel may change its parameters
    std::vector<void*> pointers;
    for (std::vector<char>& argument : own)
    {
        pointers.push_back(argument.data());
    }

    const fibers::KernelEntry& kernel = *function.kernel;
    state().counters.kernelsRun++;
    state().kernelRuns[kernel.name]++;
    fibers::launch(kernel, grid, block, dynamicBytes, pointers.data(), state().schedule);
    try
    {
        check_red_zones();
    }
    catch (const std::exception& e)
    {
        throw std::runtime_error("kernel " + kernel.name + ", " + e.what());
    }
}

int check(const Function& function, dim3 grid, dim3 block, unsigned dynamicBytes)
{
    const std::string& name = function.kernel->name;
    const uint64_t threads = uint64_t(block.x) * block.y * block.z;
    if (threads == 0 || threads > 1024 || block.z > 64)
    {
        return failed(InvalidValue, name + ": a block of " + std::to_string(threads) + " threads (1 to 1024, at most 64 in z)");
    }

    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535)
    {
        return failed(InvalidValue, name + ": a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " + std::to_string(grid.z));
    }

    if (threads > uint64_t(function.kernel->launchBound))
    {
        return failed(LaunchOutOfResources, name + ": " + std::to_string(threads) + " threads, and __launch_bounds__ says "
            + std::to_string(function.kernel->launchBound));
    }

    if (int(dynamicBytes) > function.dynamicSharedLimit)
    {
        return failed(InvalidValue, name + ": " + std::to_string(dynamicBytes) + " bytes of dynamic shared memory, and "
            + std::to_string(function.dynamicSharedLimit) + " are allowed (cuFuncSetAttribute)");
    }

    return Success;
}
}

API int cuModuleLoadDataEx(void** module, const void* image, unsigned, int*, void**)
{
    ENTER();
    if (const int refused = injected(Call::ModuleLoad))
    {
        return refused;
    }

    if (const int refused = forbidden_in_capture("cuModuleLoadDataEx"))
    {
        return refused;
    }

    auto loaded = std::make_unique<Module>();
    if (!nvrtc::read_image(static_cast<const char*>(image), loaded->image))
    {
        return failed(InvalidImage, "not an image of the stand-in's NVRTC, and not PTX");
    }

    state().counters.modulesAlive++;
    *module = loaded.release();
    return Success;
}

API int cuModuleLoadData(void** module, const void* image) { return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr); }

API int cuModuleUnload(void* module)
{
    ENTER();
    const int result = finish_all();
    state().counters.modulesAlive--;
    delete static_cast<Module*>(module);
    return result;
}

API int cuModuleGetFunction(void** function, void* handle, const char* name)
{
    ENTER();
    Module* module = static_cast<Module*>(handle);
    bool named = false;
    for (const std::string& kernel : module->image.kernels)
    {
        named |= kernel == name;
    }

    const fibers::KernelEntry* kernel = fibers::find_kernel(module->image.file, name, module->image.variant);
    if (!named || !kernel)
    {
        return failed(NotFound, named ? std::string("the stand-in was built without kernel ") + name + " for options '" + module->image.variant + "'"
                                      : std::string("the module has no kernel ") + name);
    }

    module->functions.push_back(std::make_unique<Function>(Function{kernel}));
    *function = module->functions.back().get();
    return Success;
}

API int cuFuncSetAttribute(void* handle, int attribute, int value)
{
    ENTER();
    if (attribute == 8)     // MAX_DYNAMIC_SHARED_SIZE_BYTES
    {
        if (value < 0 || value > MaxDynamicShared)
        {
            return failed(InvalidValue, "cuFuncSetAttribute: " + std::to_string(value) + " bytes of dynamic shared memory, at most " + std::to_string(MaxDynamicShared));
        }

        static_cast<Function*>(handle)->dynamicSharedLimit = value;
        return Success;
    }

    return attribute == 9 ? Success : failed(InvalidValue, "cuFuncSetAttribute: attribute " + std::to_string(attribute));     // 9: preferred carve-out
}

API int cuFuncGetAttribute(int* value, int attribute, void* handle)
{
    ENTER();
    const Function* function = static_cast<Function*>(handle);
    switch (attribute)
    {
        case 0: *value = function->kernel->launchBound; return Success;
        case 1: case 2: case 3: *value = 0; return Success;     // static shared, constant, local: not known here
        case 4: *value = 64; return Success;                    // registers: made up
        case 8: *value = function->dynamicSharedLimit; return Success;
        default: return failed(InvalidValue, "cuFuncGetAttribute: attribute " + std::to_string(attribute));
    }
}

API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int blockSize, size_t dynamicBytes)
{
    ENTER();
    const int byThreads = 2048 / std::max(blockSize, 1), byShared = int(233472 / (dynamicBytes + 1024));
    *blocks = std::min(32, std::min(byThreads, byShared));
    return Success;
}

API int cuLaunchKernel(void* handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned dynamicBytes, void* stream, void** parameters, void** extra)
{
    ENTER();
    const Function function = *static_cast<Function*>(handle);
    if (const int refused = injected(Call::Launch))
    {
        return refused;
    }

    const std::vector<size_t>& sizes = function.kernel->parameterBytes;
    if (extra || (!parameters && !sizes.empty()))
    {
        return failed(InvalidValue, "cuLaunchKernel: arguments through kernelParams only");
    }

    const dim3 grid{gx, gy, gz}, block{bx, by, bz};
    if (const int refused = check(function, grid, block, dynamicBytes))
    {
        return refused;
    }

    std::vector<std::vector<char>> arguments;       // read now: the caller's copies are gone when the kernel runs
    for (size_t i = 0; i < sizes.size(); i++)
    {
        const char* first = static_cast<const char*>(parameters[i]);
        arguments.emplace_back(first, first + sizes[i]);
    }

    state().counters.launches += stream_of(stream)->capture ? 0 : 1;
    return submit(stream, [=] { run(function, grid, block, dynamicBytes, arguments); });
}
