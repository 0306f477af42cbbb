#include "sites.h"
#include <cstring>
#include <mutex>
#include <set>
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

std::string name_of(const shim::Site& site, const char* what)
{
    const char* slash = strrchr(site.file_name(), '/');
    return s_kernel + " " + (slash ? slash + 1 : site.file_name()) + ":" + std::to_string(site.line()) + ":" + std::to_string(site.column()) + " " + what;
}
}

void watch_kernel(const std::string& name)
{
    if (shim::sites_watched)
    {
        s_kernel = name;
    }
}

void record_sites(bool on)
{
    s_recording = on;
    s_reached.clear();
    shim::sites_watched = on || !s_omitted.empty();
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
    shim::sites_watched = s_recording || !site.empty();
}
}

bool shim::site_omitted(const Site& site, const char* what)
{
    // The places are few and asked for often: what was said of one is kept by its address, which is that of a constant.
    std::lock_guard lock(fibers::s_gate);
    const std::string name = fibers::name_of(site, what);
    if (fibers::s_recording)
    {
        fibers::s_reached.insert(name);
    }

    return name == fibers::s_omitted;
}
