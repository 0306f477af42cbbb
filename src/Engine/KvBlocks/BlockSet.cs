using System.Numerics;

namespace InferenceServer.Engine.KvBlocks;

/// <summary>A set of block numbers that knows its lowest: bits in three levels, each telling which words of the one below are not empty.</summary>
internal sealed class BlockSet
{
    private const int Word = 64;

    private readonly ulong[] _blocks;
    private readonly ulong[] _words;
    private readonly ulong[] _tops;

    public BlockSet(int capacity)
    {
        _blocks = new ulong[(capacity + Word - 1) / Word];
        _words = new ulong[(_blocks.Length + Word - 1) / Word];
        _tops = new ulong[(_words.Length + Word - 1) / Word];
    }

    public int Count { get; private set; }

    public bool Contains(int block) => (_blocks[block / Word] & Bit(block)) != 0;

    /// <summary>Adds a block that is not in the set.</summary>
    public void Add(int block)
    {
        int word = block / Word;
        _blocks[word] |= Bit(block);
        _words[word / Word] |= Bit(word);
        _tops[word / Word / Word] |= Bit(word / Word);
        Count++;
    }

    /// <summary>Removes a block of the set.</summary>
    public void Remove(int block)
    {
        int word = block / Word;
        Count--;
        _blocks[word] &= ~Bit(block);
        if (_blocks[word] != 0)
        {
            return;
        }

        _words[word / Word] &= ~Bit(word);
        if (_words[word / Word] == 0)
        {
            _tops[word / Word / Word] &= ~Bit(word / Word);
        }
    }

    /// <summary>The lowest block; only when there is one.</summary>
    public int Lowest()
    {
        int top = 0;
        while (_tops[top] == 0)
        {
            top++;
        }

        int words = (top * Word) + BitOperations.TrailingZeroCount(_tops[top]);
        int word = (words * Word) + BitOperations.TrailingZeroCount(_words[words]);
        return (word * Word) + BitOperations.TrailingZeroCount(_blocks[word]);
    }

    private static ulong Bit(int index) => 1UL << (index % Word);
}
