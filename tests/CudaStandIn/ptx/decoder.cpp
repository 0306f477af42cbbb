#include "decoder.h"
#include <algorithm>

namespace ptx
{
Decoder::Decoder(Kernel& kernel, Scope& scope, const Statement& statement)
    : _kernel(kernel), _scope(scope), _statement(statement), _modifiers(statement.words.begin() + 1, statement.words.end())
{
}

bool Decoder::take(const char* modifier)
{
    const auto found = std::find(_modifiers.begin(), _modifiers.end(), modifier);
    if (found == _modifiers.end())
    {
        return false;
    }

    _modifiers.erase(found);
    return true;
}

std::string Decoder::take_one_of(std::initializer_list<const char*> modifiers)
{
    std::string last;
    for (const char* modifier : modifiers)
    {
        last = modifier;
        if (take(modifier))
        {
            break;
        }
    }

    return last;
}

std::string Decoder::take_last()
{
    if (_modifiers.empty())
    {
        fail("has no type");
    }

    const std::string last = _modifiers.back();
    _modifiers.pop_back();
    return last;
}

std::string Decoder::take_guard()
{
    _isUnguarded = true;
    return _statement.guard;
}

const std::string& Decoder::text(size_t operand) const
{
    if (operand >= count())
    {
        fail("has too few operands");
    }

    return _statement.operands[operand];
}

Register Decoder::register_of(const std::string& name)
{
    const Register* found = _scope.find(name);
    return found ? *found : (fail(name + " is no register that is known"), Register{});
}

Ref Decoder::written(const std::string& name, int bytes)
{
    if (name == "_")
    {
        static const char* const sinks[] = {"%sink1", "%sink2", "%sink4", "%sink8"};
        const char* sink = sinks[bytes == 8 ? 3 : bytes == 4 ? 2 : bytes == 2 ? 1 : 0];
        if (!_scope.find(sink))
        {
            _scope.declare(sink, 0, "b" + std::to_string(bytes * 8));
        }

        return _scope.find(sink)->ref;
    }

    const Register found = register_of(name);
    if (found.bytes != bytes)
    {
        fail(name + " has " + std::to_string(found.bytes * 8) + " bits, and " + std::to_string(bytes * 8) + " are meant");
    }

    return found.ref;
}

Ref Decoder::value(const std::string& text, const std::string& type)
{
    const int bytes = bytes_of(type);
    if (text[0] == '%')
    {
        return written(text, bytes);
    }

    if (text.size() > 2 && text[0] == '0' && strchr("fFdD", text[1]))
    {
        const bool isDouble = text[1] == 'd' || text[1] == 'D';
        if (bytes != (isDouble ? 8 : 4))
        {
            fail(text + " is not of ." + type);
        }

        return _scope.constant(std::stoull(text.substr(2), nullptr, 16), bytes);
    }

    if (isdigit(static_cast<unsigned char>(text[0])) || text[0] == '-')
    {
        if (type[0] == 'f')
        {
            fail(text + " is an integer, and ." + type + " is meant");
        }

        const uint64_t bits = uint64_t(number(text));
        return _scope.constant(bytes == 8 ? bits : bits & ((1ull << 8 * bytes) - 1), bytes);
    }

    const Address found = address("[" + text + "]");
    uint64_t base;
    memcpy(&base, _kernel.constants.data() + (found.base & ~1u), 8);
    return _scope.constant(base + uint64_t(found.offset), bytes);
}

Ref Decoder::predicate(const std::string& text, bool* negated)
{
    const bool isNegated = text[0] == '!';
    if (isNegated && !negated)
    {
        fail(text + " where no negated predicate is taken");
    }

    if (negated)
    {
        *negated = isNegated;
    }

    if (isdigit(static_cast<unsigned char>(text[0])) || text[0] == '-')
    {
        return _scope.constant(number(text) != 0 ? 0xffffffffu : 0, 0);
    }

    if (text == "_")
    {
        if (!_scope.find("%sinkp"))
        {
            _scope.declare("%sinkp", 0, "pred");
        }

        return _scope.find("%sinkp")->ref;
    }

    return written(text.substr(isNegated), 0);
}

Address Decoder::address(const std::string& text)
{
    if (text.size() < 3 || text.front() != '[' || text.back() != ']')
    {
        fail(text + " is no address");
    }

    const std::string inner = trimmed(text.substr(1, text.size() - 2));
    const size_t plus = inner.find('+');
    const std::string base = trimmed(inner.substr(0, plus));
    const int64_t offset = plus == std::string::npos ? 0 : number(trimmed(inner.substr(plus + 1)));
    if (base[0] == '%')
    {
        const Register found = register_of(base);
        if (found.bytes < 4)
        {
            fail(base + " is too narrow for an address");
        }

        return {found.ref, found.bytes, offset};
    }

    const auto symbol = _scope.symbols.find(base);
    if (symbol == _scope.symbols.end() && !isdigit(static_cast<unsigned char>(base[0])))
    {
        fail(base + " is not known");
    }

    return {_scope.constant(symbol == _scope.symbols.end() ? uint64_t(number(base)) : symbol->second.address, 8), 8, offset};
}

int64_t Decoder::number(const std::string& text) const
{
    try
    {
        size_t read = 0;
        const bool isNegative = text[0] == '-';
        const uint64_t value = std::stoull(text.substr(isNegative), &read, 0);
        read += isNegative;
        if (read == text.size() || (read + 1 == text.size() && text[read] == 'U'))
        {
            return isNegative ? -int64_t(value) : int64_t(value);
        }
    }
    catch (const std::logic_error&)
    {
    }

    fail(text + " is no number");
}

std::vector<std::string> Decoder::vector(const std::string& text) const
{
    if (text[0] != '{')
    {
        return {text};
    }

    std::vector<std::string> parts;
    for (const std::string& part : split(text.substr(1, text.size() - 2), ','))
    {
        parts.push_back(trimmed(part));
    }

    return parts;
}

const Parameter* Decoder::parameter(const std::string& text, int64_t* offset) const
{
    const std::string inner = trimmed(text.substr(1, text.size() - 2));
    const size_t plus = inner.find('+');
    *offset = plus == std::string::npos ? 0 : number(trimmed(inner.substr(plus + 1)));
    const auto found = _scope.parameters.find(trimmed(inner.substr(0, plus)));
    return found == _scope.parameters.end() ? (fail(text + " is no parameter"), nullptr) : found->second;
}

void Decoder::emit(Execute execute, int64_t immediate)
{
    if (!_modifiers.empty())
    {
        fail("." + _modifiers[0] + " is not known here");
    }

    _kernel.operands.push_back(std::move(_operands));
    Instruction made{execute, _kernel.operands.back().data(), immediate + _offset, NoRef, false, _statement.line, _access};
    if (!_statement.guard.empty() && !_isUnguarded)
    {
        made.guard = predicate(_statement.guard, &made.guardNegated);
    }

    _kernel.code.push_back(made);
    _done = true;
}

void Decoder::access(const std::string& text, Space space, int count, int bytes, Use use)
{
    const Address found = address(text);
    add(found.base);
    _offset = found.offset;
    _access = {space, uint8_t(found.baseBytes), uint8_t(count), uint8_t(bytes), use};
}

void Decoder::fail(const std::string& what) const
{
    throw std::runtime_error("line " + std::to_string(_statement.line) + ", " + _statement.text + ": " + what);
}
}
