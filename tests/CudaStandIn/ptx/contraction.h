// ptxas may make one fused multiply-add of a product and the sum that it goes into, where neither says how it is rounded (PTX manual, "mul" and "add").
// NVRTC has left few of these; a test that depends on whether they are fused would fail on a device, or with another ptxas.
#pragma once
#include <map>
#include <string>
#include <vector>
#include "statement.h"

namespace ptx
{
class Contraction
{
public:
    // Seed 0 fuses nothing, 1 all, and others each by chance.
    explicit Contraction(unsigned seed) : _seed(seed) {}

    // Behind a label a product need not have been formed.
    void forget() { _products.clear(); }

    // The instruction itself, or what it becomes.
    std::vector<Statement> of(const Statement& s);

    // A register that the fused form needs; of f32.
    static constexpr const char* Temporary = "%contracted";

private:
    bool is_chosen(const Statement& s) const;
    void forget_written(const Statement& s);

    unsigned _seed;
    std::map<std::string, std::pair<std::string, std::string>> _products;       // register, and its factors
};
}
