// Reads a module: its declarations, and kernel by kernel its instructions.
#include <algorithm>
#include <map>
#include "contraction.h"
#include "decoder.h"

namespace ptx
{
namespace
{
size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

bool has(const Statement& s, const char* word) { return s.text.find(word) != std::string::npos; }

// The number behind a directive such as ".align".
size_t number_behind(const std::string& text, const char* directive, size_t otherwise)
{
    const size_t at = text.find(directive);
    return at == std::string::npos ? otherwise : std::stoul(text.substr(at + std::string(directive).size()));
}

// The type among the words of a declaration, such as ".param .u64 .ptr .align 1".
std::string type_in(const std::string& words)
{
    for (const std::string& word : split(words, '.'))
    {
        const std::string type = trimmed(word);
        if (type.size() > 1 && strchr("bsuf", type[0]) && isdigit(static_cast<unsigned char>(type[1])))
        {
            return type;
        }
    }

    throw std::runtime_error("no type in " + words);
}

// ".shared .align 16 .b8 name[32] = {...}".
struct Declaration
{
    std::string name, type, initial;
    size_t alignment, bytes;
    bool isOpen;                    // "name[]"
};

Declaration declaration_of(const std::string& text)
{
    Declaration d{};
    const size_t equals = text.find('=');
    d.initial = equals == std::string::npos ? "" : trimmed(text.substr(equals + 1));
    const std::string head = trimmed(text.substr(0, equals));
    const size_t blank = head.find_last_of(' ');
    std::string name = head.substr(blank + 1);
    const std::string types = head.substr(0, blank);
    d.type = type_in(types);
    const size_t bracket = name.find('[');
    const size_t element = size_t(bytes_of(d.type));
    d.isOpen = bracket != std::string::npos && name[bracket + 1] == ']';
    d.bytes = bracket == std::string::npos ? element : d.isOpen ? 0 : element * std::stoul(name.substr(bracket + 1));
    d.name = name.substr(0, bracket);
    d.alignment = number_behind(types, ".align ", element);
    return d;
}

class Reader
{
public:
    explicit Reader(unsigned contraction) : _contraction(contraction) {}

    std::shared_ptr<Program> read(const std::string& text)
    {
        for (const Statement& s : statements_of(text))
        {
            try
            {
                read(s);
            }
            catch (const std::logic_error& e)
            {
                throw std::runtime_error("line " + std::to_string(s.line) + ", " + s.text + ": " + e.what());
            }
        }

        return std::move(_program);
    }

private:
    void read(const Statement& s)
    {
        switch (s.kind)
        {
            case Statement::Kind::Open:
                if (_depth++ > 0)
                {
                    _scope->open();
                }

                break;
            case Statement::Kind::Close:
                if (--_depth > 0)
                {
                    _scope->close();
                }
                else
                {
                    finish();
                }

                break;
            case Statement::Kind::Label:
                _labels[s.text] = int64_t(_kernel->code.size());
                _contraction.forget();
                break;
            case Statement::Kind::Directive:
                if (_depth == 0)
                {
                    read_outside(s);
                }
                else
                {
                    read_inside(s);
                }

                break;
            case Statement::Kind::Instruction:
                for (const Statement& each : _contraction.of(s))
                {
                    read_instruction(each);
                }

                break;
        }
    }

    void read_outside(const Statement& s)
    {
        if (has(s, ".entry "))
        {
            begin(s);
        }
        else if (s.words[0] == "target")
        {
            _program->target = s.operands[0];
        }
        else if (has(s, ".shared "))
        {
            _shared.push_back(declaration_of(s.text));
        }
        else if (has(s, ".const ") || has(s, ".global "))
        {
            read_variable(declaration_of(s.text), s);
        }
        else if (s.words[0] != "version" && s.words[0] != "address_size")
        {
            throw std::runtime_error("line " + std::to_string(s.line) + ", " + s.text + ": is not known");
        }
    }

    // The bytes of a .const or .global variable lie where they stay.
    void read_variable(const Declaration& d, const Statement& s)
    {
        std::vector<char>& bytes = _program->variables.emplace_back(d.bytes, 0);
        std::string initial = d.initial;
        initial.erase(std::remove_if(initial.begin(), initial.end(), [](char c) { return c == '{' || c == '}'; }), initial.end());
        if (!initial.empty() && d.type[0] == 'f')
        {
            throw std::runtime_error("line " + std::to_string(s.line) + ", " + s.text + ": initial values of ." + d.type + " are not known");
        }

        const size_t element = size_t(bytes_of(d.type));
        size_t at = 0;
        for (const std::string& text : initial.empty() ? std::vector<std::string>{} : split(initial, ','))
        {
            const uint64_t value = std::stoull(trimmed(text), nullptr, 0);
            memcpy(&bytes.at(at + element - 1) - (element - 1), &value, element);
            at += element;
        }

        _variables.push_back({d.name, {reinterpret_cast<uint64_t>(bytes.data()), int64_t(d.bytes)}});
    }

    // ".visible .entry name( .param .u64 a, ... ) .maxntid 256, 1, 1"
    void begin(const Statement& s)
    {
        _kernel = &_program->kernels.emplace_back();
        _kernel->program = _program.get();
        _scope = std::make_unique<Scope>(*_kernel);
        _labels.clear();
        _branches.clear();
        const size_t entry = s.text.find(".entry ") + 7, open = s.text.find('(', entry), close = s.text.find(')', open);
        _kernel->name = trimmed(s.text.substr(entry, open - entry));
        const std::string list = trimmed(s.text.substr(open + 1, close - open - 1));
        for (const std::string& each : list.empty() ? std::vector<std::string>{} : split(list, ','))
        {
            const Declaration d = declaration_of(trimmed(each));
            const size_t offset = round_up(_kernel->parameterBytes, d.alignment);
            _kernel->parameters.push_back({d.name, d.type, offset, d.bytes});
            _kernel->parameterBytes = offset + d.bytes;
        }

        for (const Parameter& p : _kernel->parameters)
        {
            _scope->parameters[p.name] = &p;
        }

        const size_t threads = s.text.find(".maxntid ", close);
        if (threads != std::string::npos)
        {
            size_t product = 1;
            for (const std::string& each : split(s.text.substr(threads + 9), ','))
            {
                product *= std::stoul(each);
            }

            _kernel->maxThreads = int(product);
        }

        for (const auto& [name, symbol] : _variables)
        {
            _scope->declare_symbol(name, symbol);
        }

        for (const Declaration& d : _shared)
        {
            declare_shared(d);
        }

        _scope->declare(Contraction::Temporary, 0, "f32");
        _contraction.forget();
    }

    void declare_shared(const Declaration& d)
    {
        if (!d.isOpen)
        {
            _scope->declare_shared(d.name, d.bytes, d.alignment);
            return;
        }

        _kernel->dynamicOffset = std::max(_kernel->dynamicOffset, FirstDynamic + d.alignment);
        _scope->declare_symbol(d.name, {_kernel->dynamicOffset, -1});
    }

    void read_inside(const Statement& s)
    {
        if (s.words[0] == "reg")
        {
            const size_t type = s.text.find('.', 1), blank = s.text.find(' ', type);
            for (const std::string& each : split(s.text.substr(blank), ','))
            {
                const std::string name = trimmed(each);
                const size_t angle = name.find('<');
                const int count = angle == std::string::npos ? 0 : std::stoi(name.substr(angle + 1));
                _scope->declare(name.substr(0, angle), count, s.text.substr(type + 1, blank - type - 1));
            }
        }
        else if (s.words[0] == "shared")
        {
            declare_shared(declaration_of(s.text));
        }
        else if (s.words[0] == "local")
        {
            const Declaration d = declaration_of(s.text);
            _scope->declare_local(d.name, d.bytes, d.alignment);
        }
        else if (s.words[0] != "pragma" && s.words[0] != "loc")
        {
            throw std::runtime_error("line " + std::to_string(s.line) + ", " + s.text + ": is not known");
        }
    }

    void read_instruction(const Statement& s)
    {
        Decoder decoder(*_kernel, *_scope, s);
        for (const auto family : {&decode_moves, &decode_floats, &decode_integers, &decode_bits, &decode_comparisons, &decode_conversions,
                 &decode_approximations, &decode_halves, &decode_memory, &decode_atomics, &decode_async_copies, &decode_control, &decode_barriers,
                 &decode_exchanges, &decode_tensor_cores})
        {
            family(decoder);
            if (decoder.is_done())
            {
                if (s.words[0] == "bra")
                {
                    _branches.push_back({_kernel->code.size() - 1, s.operands.at(0)});
                }

                return;
            }
        }

        decoder.fail("the interpreter does not know this instruction");
    }

    // Branches get their targets, the constants are whole, and what runs past the end returns.
    void finish()
    {
        for (const auto& [at, label] : _branches)
        {
            const auto found = _labels.find(label);
            if (found == _labels.end())
            {
                throw std::runtime_error(_kernel->name + ": no label " + label);
            }

            _kernel->code[at].immediate = found->second;
        }

        const Statement ret{Statement::Kind::Instruction, 0, "", {"ret"}, {}, "ret"};
        read_instruction(ret);
    }

    std::shared_ptr<Program> _program = std::make_shared<Program>();
    std::vector<Declaration> _shared;
    std::vector<std::pair<std::string, Symbol>> _variables;
    int _depth = 0;
    Contraction _contraction;

    Kernel* _kernel = nullptr;
    std::unique_ptr<Scope> _scope;
    std::map<std::string, int64_t> _labels;
    std::vector<std::pair<size_t, std::string>> _branches;
};
}

const Kernel* Program::find(const std::string& name) const
{
    for (const Kernel& kernel : kernels)
    {
        if (kernel.name == name)
        {
            return &kernel;
        }
    }

    return nullptr;
}

std::shared_ptr<const Program> decode(const std::string& text, unsigned contraction) { return Reader(contraction).read(text); }
}
