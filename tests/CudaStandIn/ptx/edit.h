// For mutation tests: PTX with something changed in it.
#pragma once
#include <string>

namespace ptx
{
// In the lines that have `with` in them, what a regular expression (ECMAScript) finds becomes `by`.
struct Edit
{
    std::string with, what, by;

    long lines = 0;                     // changed so far

    std::string of(const std::string& text);
};
}
