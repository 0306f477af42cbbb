// Modules name kernels, which are those the library was built with, or hold PTX, which is interpreted; launching one.
#include <cstring>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>
#include "../fibers/launch.h"
#include "../nvrtc/image.h"
#include "../ptx/edit.h"
#include "../ptx/launch.h"
#include "memory.h"
#include "state.h"
#include "streams.h"

using namespace driver;

namespace
{
constexpr int MaxDynamicShared = 232448, SharedWithoutAsking = 48 * 1024;

// A kernel of the library, or of a module's PTX.
struct Function
{
    const fibers::KernelEntry* kernel;
    const ptx::Kernel* ptx;
    std::string name;
    int maxThreads;
    int staticShared;
    std::vector<size_t> parameterBytes;
    int dynamicSharedLimit;

    explicit Function(const fibers::KernelEntry& k)
        : kernel(&k), ptx(nullptr), name(k.name), maxThreads(k.launchBound), staticShared(0), parameterBytes(k.parameterBytes), dynamicSharedLimit(SharedWithoutAsking)
    {
    }

    explicit Function(const ptx::Kernel& k)
        : kernel(nullptr), ptx(&k), name(k.name), maxThreads(k.maxThreads), staticShared(int(k.staticBytes)), dynamicSharedLimit(SharedWithoutAsking - staticShared)
    {
        for (const ptx::Parameter& parameter : k.parameters)
        {
            parameterBytes.push_back(parameter.bytes);
        }
    }
};

struct Module
{
    nvrtc::Image image;
    std::shared_ptr<const ptx::Program> ptx;
    std::vector<std::unique_ptr<Function>> functions;
};

// What texts were decoded to, once in a process: every backend of a test loads the same modules.
std::map<std::pair<unsigned, std::string>, std::shared_ptr<const ptx::Program>> s_programs;
unsigned s_contraction;

// The same of what a mutation test has changed, as long as it wants that.
ptx::Edit s_edit;
std::map<std::string, std::shared_ptr<const ptx::Program>> s_edited;

std::shared_ptr<const ptx::Program> decoded(const char* text)
{
    if (!s_edit.with.empty())
    {
        std::shared_ptr<const ptx::Program>& program = s_edited[text];
        program = program ? program : ptx::decode(s_edit.of(text), 0);
        return program;
    }

    const auto found = s_programs.find({s_contraction, text});
    return found != s_programs.end() ? found->second : s_programs[{s_contraction, text}] = ptx::decode(text, s_contraction);
}

void run_ptx(const Function& function, dim3 grid, dim3 block, size_t dynamicBytes, const std::vector<std::vector<char>>& arguments)
{
    ptx::find_memory = [](uint64_t address)
    {
        const auto [first, end] = owned_range(address);
        return ptx::Range{first, end, nullptr};
    };
    ptx::describe_memory = &describe;
    std::vector<char> parameters(function.ptx->parameterBytes);
    for (size_t i = 0; i < arguments.size(); i++)
    {
        memcpy(parameters.data() + function.ptx->parameters[i].offset, arguments[i].data(), arguments[i].size());
    }

    ptx::run({function.ptx, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, dynamicBytes, parameters.data(), state().schedule});
}

void run(const Function& function, dim3 grid, dim3 block, size_t dynamicBytes, const std::vector<std::vector<char>>& arguments)
{
    state().counters.kernelsRun++;
    state().kernelRuns[function.name]++;
    if (function.ptx)
    {
        run_ptx(function, grid, block, dynamicBytes, arguments);
        return;
    }

    std::vector<std::vector<char>> own = arguments;     // a kernel may change its parameters
    std::vector<void*> pointers;
    for (std::vector<char>& argument : own)
    {
        pointers.push_back(argument.data());
    }

    fibers::launch(*function.kernel, grid, block, dynamicBytes, pointers.data(), state().schedule);
    try
    {
        check_red_zones();
    }
    catch (const std::exception& e)
    {
        throw std::runtime_error("kernel " + function.name + ", " + e.what());
    }
}

int check(const Function& function, dim3 grid, dim3 block, unsigned dynamicBytes)
{
    const std::string& name = function.name;
    const uint64_t threads = uint64_t(block.x) * block.y * block.z;
    if (threads == 0 || threads > 1024 || block.z > 64)
    {
        return failed(InvalidValue, name + ": a block of " + std::to_string(threads) + " threads (1 to 1024, at most 64 in z)");
    }

    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535)
    {
        return failed(InvalidValue, name + ": a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " + std::to_string(grid.z));
    }

    if (threads > uint64_t(function.maxThreads))
    {
        return failed(LaunchOutOfResources, name + ": " + std::to_string(threads) + " threads, and __launch_bounds__ says "
            + std::to_string(function.maxThreads));
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
    const char* text = static_cast<const char*>(image);
    if (memcmp(text, "\x7f" "ELF", 4) == 0)
    {
        return failed(InvalidImage, "machine code, which the stand-in cannot run");
    }

    if (!nvrtc::read_image(text, loaded->image))
    {
        if (!strstr(text, ".version"))
        {
            return failed(InvalidImage, "not an image of the stand-in's NVRTC, and not PTX");
        }

        try
        {
            loaded->ptx = decoded(text);
        }
        catch (const std::exception& e)
        {
            return failed(InvalidPtx, e.what());
        }
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
    if (module->ptx)
    {
        const ptx::Kernel* found = module->ptx->find(name);
        if (!found)
        {
            return failed(NotFound, std::string("the module has no kernel ") + name);
        }

        module->functions.push_back(std::make_unique<Function>(*found));
        *function = module->functions.back().get();
        return Success;
    }

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

    module->functions.push_back(std::make_unique<Function>(*kernel));
    *function = module->functions.back().get();
    return Success;
}

// Modules of PTX that are loaded from now on are changed first, in lines that have `with` in them; an empty text ends that.
API void standin_edit_ptx(const char* with, const char* what, const char* by)
{
    std::lock_guard lock(state().gate);
    s_edit = {with, what, by, 0};
    s_edited.clear();
}

// Which products of modules of PTX that are loaded from now on are fused with the sums that they go into, as ptxas may do: 0 none, 1 all, others by chance.
API void standin_contract_ptx(unsigned seed)
{
    std::lock_guard lock(state().gate);
    s_contraction = seed;
}

API int64_t standin_ptx_edits()
{
    std::lock_guard lock(state().gate);
    return s_edit.lines;
}

// The kernels of all PTX that was loaded, one a line.
API const char* standin_ptx_kernels()
{
    static thread_local std::string text;
    std::lock_guard lock(state().gate);
    std::set<std::string> names;
    for (const auto& [source, program] : s_programs)
    {
        for (const ptx::Kernel& kernel : program->kernels)
        {
            names.insert(kernel.name);
        }
    }

    text.clear();
    for (const std::string& name : names)
    {
        text += name + "\n";
    }

    return text.c_str();
}

API int cuFuncSetAttribute(void* handle, int attribute, int value)
{
    ENTER();
    if (attribute == 8)     // MAX_DYNAMIC_SHARED_SIZE_BYTES
    {
        Function* function = static_cast<Function*>(handle);
        if (value < 0 || value > MaxDynamicShared - function->staticShared)
        {
            return failed(InvalidValue, "cuFuncSetAttribute: " + std::to_string(value) + " bytes of dynamic shared memory, at most "
                + std::to_string(MaxDynamicShared - function->staticShared));
        }

        function->dynamicSharedLimit = value;
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
        case 0: *value = function->maxThreads; return Success;
        case 1: *value = function->staticShared; return Success;    // 0 of a kernel of the library, which does not know it
        case 2: case 3: *value = 0; return Success;                 // constant, local: not known here
        case 4: *value = 64; return Success;                        // registers: made up
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

    const std::vector<size_t>& sizes = function.parameterBytes;
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
        if (!parameters[i])
        {
            return failed(InvalidValue, "cuLaunchKernel: argument " + std::to_string(i) + " of " + std::to_string(sizes.size()) + " of " + function.name + " is missing");
        }

        const char* first = static_cast<const char*>(parameters[i]);
        arguments.emplace_back(first, first + sizes[i]);
    }

    state().counters.launches += stream_of(stream)->capture ? 0 : 1;
    return submit(stream, [=] { run(function, grid, block, dynamicBytes, arguments); });
}
