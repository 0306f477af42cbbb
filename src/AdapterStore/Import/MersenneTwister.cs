namespace InferenceServer.AdapterStore.Import;

/// <summary>MT19937 (Matsumoto and Nishimura 1998), 32-bit outputs: the generator behind torch's CPU random numbers.</summary>
internal sealed class MersenneTwister
{
    private const int Size = 624;
    private const int Shift = 397;

    private readonly uint[] _state = new uint[Size];
    private int _next = Size;

    public MersenneTwister(uint seed)
    {
        _state[0] = seed;
        for (uint i = 1; i < Size; i++)
        {
            uint last = _state[i - 1];
            _state[i] = (1812433253 * (last ^ (last >> 30))) + i;
        }
    }

    public uint Next()
    {
        if (_next == Size)
        {
            Twist();
        }

        uint value = _state[_next++];
        value ^= value >> 11;
        value ^= (value << 7) & 0x9d2c5680;
        value ^= (value << 15) & 0xefc60000;
        return value ^ (value >> 18);
    }

    private void Twist()
    {
        for (int i = 0; i < Size; i++)
        {
            uint bits = (_state[i] & 0x80000000) | (_state[(i + 1) % Size] & 0x7fffffff);
            _state[i] = _state[(i + Shift) % Size] ^ (bits >> 1) ^ ((bits & 1) * 0x9908b0df);
        }

        _next = 0;
    }
}
