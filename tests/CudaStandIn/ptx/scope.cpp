#include "scope.h"
#include <cstring>

namespace ptx
{
namespace
{
size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// So that what needs more alignment than it declares does not find it by chance.
size_t aligned_and_no_more(size_t at, size_t alignment)
{
    const size_t aligned = round_up(at, alignment);
    return aligned % (2 * alignment) == 0 ? aligned + alignment : aligned;
}
}

int bytes_of(const std::string& type)
{
    if (type == "pred")
    {
        return 0;
    }

    for (const char* bits : {"8", "16", "32", "64"})
    {
        if (type.size() > 1 && strchr("bsuf", type[0]) && type.substr(1) == bits)
        {
            return atoi(bits) / 8;
        }
    }

    throw std::runtime_error("the type ." + type + " is not known");
}

Scope::Scope(Kernel& kernel) : _kernel(kernel)
{
    for (Ref* ref : {kernel.threadIndex, kernel.blockSize, kernel.blockIndex, kernel.gridSize})
    {
        ref[0] = ref[1] = ref[2] = NoRef;
    }

    kernel.laneIndex = kernel.warpIndex = NoRef;
    open();
}

Ref Scope::allocate(size_t bytes)
{
    const Ref ref = Ref(_kernel.registerBytes);
    _kernel.registerBytes += round_up(bytes, 64);
    return ref;
}

void Scope::declare(const std::string& name, int count, const std::string& type)
{
    const int bytes = bytes_of(type);
    _registers.back()[name] = {name, count, bytes, std::vector<Ref>(size_t(count ? count : 1), NoRef)};
}

const Register* Scope::find(const std::string& name)
{
    static thread_local Register found;
    size_t digits = name.size();
    while (digits > 0 && isdigit(static_cast<unsigned char>(name[digits - 1])))
    {
        digits--;
    }

    for (auto level = _registers.rbegin(); level != _registers.rend(); ++level)
    {
        auto range = level->find(name);
        size_t index = 0;
        if ((range == level->end() || range->second.count > 0) && digits < name.size())
        {
            range = level->find(name.substr(0, digits));
            index = size_t(std::stoul(name.substr(digits)));
            range = range != level->end() && index < size_t(range->second.count) ? range : level->end();
        }

        if (range != level->end())
        {
            Ref& ref = range->second.refs[index];
            ref = ref == NoRef ? allocate(range->second.bytes == 0 ? 4 : size_t(range->second.bytes) * Lanes) : ref;
            found = {ref, range->second.bytes};
            return &found;
        }
    }

    const Ref ref = special(name);
    found = {ref, 4};
    return ref == NoRef ? nullptr : &found;
}

Ref Scope::special(const std::string& name)
{
    const size_t dot = name.find('.');
    const std::string base = name.substr(0, dot), part = dot == std::string::npos ? "" : name.substr(dot + 1);
    const int axis = part == "x" ? 0 : part == "y" ? 1 : part == "z" ? 2 : -1;
    Ref* ref = base == "%tid" && axis >= 0 ? &_kernel.threadIndex[axis]
        : base == "%ntid" && axis >= 0 ? &_kernel.blockSize[axis]
        : base == "%ctaid" && axis >= 0 ? &_kernel.blockIndex[axis]
        : base == "%nctaid" && axis >= 0 ? &_kernel.gridSize[axis]
        : name == "%laneid" ? &_kernel.laneIndex
        : name == "%warpid" ? &_kernel.warpIndex
        : nullptr;
    if (ref && *ref == NoRef)
    {
        *ref = allocate(4 * Lanes);
    }

    return ref ? *ref : NoRef;
}

Ref Scope::constant(uint64_t bits, int bytes)
{
    const auto found = _constants.find({bits, bytes});
    if (found != _constants.end())
    {
        return found->second;
    }

    std::vector<char>& all = _kernel.constants;
    const size_t at = all.size(), size = bytes == 0 ? 4 : size_t(bytes) * Lanes;
    all.resize(round_up(at + size, 64));
    for (size_t done = 0; done < size; done += size_t(bytes == 0 ? 4 : bytes))
    {
        memcpy(all.data() + at + done, &bits, size_t(bytes == 0 ? 4 : bytes));
    }

    return _constants[{bits, bytes}] = Ref(at) | 1;
}

void Scope::declare_shared(const std::string& name, size_t bytes, size_t alignment)
{
    const size_t at = aligned_and_no_more(_sharedEnd, alignment);
    _sharedEnd = at + bytes + SharedGap;
    _kernel.staticBytes = round_up(_kernel.staticBytes, alignment) + bytes;
    _kernel.shared.push_back({name, at, bytes});
    if (_sharedEnd > FirstDynamic)
    {
        throw std::runtime_error("static shared memory of more than " + std::to_string(FirstDynamic) + " bytes");
    }

    symbols[name] = {at, int64_t(bytes)};
}

void Scope::declare_local(const std::string& name, size_t bytes, size_t alignment)
{
    const size_t at = aligned_and_no_more(_kernel.localBytes, alignment);
    _kernel.localBytes = at + bytes;
    symbols[name] = {at, int64_t(bytes)};
}
}
