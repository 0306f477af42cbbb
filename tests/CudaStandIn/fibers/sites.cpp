#include "sites.h"
#include <cstring>
#include <mutex>
#include <set>
#include <unordered_map>
#include "../shim/threads.h"

bool shim::sites_watched;

namespace fibers
{
namespace
{
std::mutex s_gate;
std::string s_kernel, s_omitted, s_text;
std::set<std::string> s_reached;
bool s_recording;
std::unordered_map<uint64_t, bool> s_verdicts;      // whether a place of the running kernel is the omitted one; by line, column and file

std::string name_of(const shim::Site& site, const char* what)
{
    const char* slash = strrchr(site.file_name(), '/');
    return s_kernel + " " + (slash ? slash + 1 : site.file_name()) + ":" + std::to_string(site.line()) + ":" + std::to_string(site.column()) + " " + what;
}

void watch()
{
    s_verdicts.clear();
    shim::sites_watched = s_recording || !s_omitted.empty();
}
}

void watch_kernel(const std::string& name)
{
    if (shim::sites_watched)
    {
        s_kernel = name;
        s_verdicts.clear();
    }
}

void record_sites(bool on)
{
    s_recording = on;
    s_reached.clear();
    watch();
}

const std::string& recorded_sites()
{
    s_text.clear();
    for (const std::string& site : s_reached)
    {
        s_text += site + "\n";
    }

    return s_text;
}

void omit_site(const std::string& site)
{
    s_omitted = site;
    watch();
}
}

bool shim::site_omitted(const Site& site, const char* what)
{
    const uint64_t key = reinterpret_cast<uint64_t>(site.file_name()) * 0x9E3779B97F4A7C15ull ^ (uint64_t(site.line()) << 20 | site.column());
    std::lock_guard lock(fibers::s_gate);
    const auto known = fibers::s_verdicts.find(key);
    if (known != fibers::s_verdicts.end())
    {
        return known->second;
    }

    const std::string name = fibers::name_of(site, what);
    if (fibers::s_recording)
    {
        fibers::s_reached.insert(name);
    }

    const bool any = fibers::s_omitted.rfind("* ", 0) == 0;
    return fibers::s_verdicts[key] = any ? name.substr(name.find(' ')) == fibers::s_omitted.substr(1) : name == fibers::s_omitted;
}
