#include "edit.h"
#include <regex>
#include <sstream>

namespace ptx
{
std::string Edit::of(const std::string& text)
{
    const std::regex expression(what);
    std::istringstream stream(text);
    std::string edited;
    for (std::string line; std::getline(stream, line);)
    {
        const std::string changed = line.find(with) == std::string::npos ? line : std::regex_replace(line, expression, by);
        lines += changed != line;
        edited += changed + '\n';
    }

    return edited;
}
}
