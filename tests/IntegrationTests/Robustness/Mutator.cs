using System.Buffers.Binary;

namespace InferenceServer.IntegrationTests.Robustness;

/// <summary>Damages a framed gRPC request in one of the ways that broken or hostile clients do; the same seed, the same damage.</summary>
internal sealed class Mutator(int seed)
{
    private readonly Random _random = new(seed);

    public int Next(int bound) => _random.Next(bound);

    /// <summary>A damaged copy of a framed message, and headers that go with it.</summary>
    public (byte[] Body, (string Name, string Value)[] Headers) Damage(byte[] framed)
    {
        byte[] body = [.. framed];
        switch (_random.Next(14))
        {
            case 0: // bits flipped within the message
                for (int i = 0; i < 1 + _random.Next(8) && body.Length > 5; i++)
                {
                    body[_random.Next(5, body.Length)] ^= (byte)(1 << _random.Next(8));
                }

                return (body, []);
            case 1: // cut off anywhere
                return (body[.._random.Next(body.Length)], []);
            case 2: // a length that lies, near or far
                BinaryPrimitives.WriteInt32BigEndian(
                    body.AsSpan(1), _random.Next(2) == 0 ? _random.Next() : body.Length - 5 + _random.Next(-3, 4));
                return (body, []);
            case 3: // a length beyond every limit
                BinaryPrimitives.WriteUInt32BigEndian(body.AsSpan(1), uint.MaxValue - (uint)_random.Next(16));
                return (body, []);
            case 4: // a flag that does not exist, or compression that was not announced
                body[0] = (byte)_random.Next(1, 256);
                return (body, []);
            case 5: // compression announced over plain bytes
                body[0] = 1;
                return (body, [("grpc-encoding", _random.Next(2) == 0 ? "gzip" : "br")]);
            case 6: // only noise
                return (Noise(_random.Next(1, 200)), []);
            case 7: // noise in a proper frame
                return (Frame(Noise(_random.Next(1, 300))), []);
            case 8: // a field whose length runs over the end
                return (Frame([.. body[5..], 0x0a, 0xff, 0xff, 0xff, 0xff, 0x07]), []);
            case 9: // deep nesting: groups and length-delimited fields
                return (Frame([.. Enumerable.Repeat((byte)(_random.Next(2) == 0 ? 0x0b : 0x0a), _random.Next(50, 5000))]), []);
            case 10: // two messages where one is expected
                return ([.. body, .. body], []);
            case 11: // a varint that never ends
                return (Frame([0x08, .. Enumerable.Repeat((byte)0xff, _random.Next(9, 200))]), []);
            case 12: // text that is no UTF-8
                return (Frame([0x22, 4, 0xc3, 0x28, 0xa0, 0xff, .. body[5..]]), []);
            default: // headers that make no sense
                return (body, [("grpc-timeout", _random.Next(4) switch { 0 => "soon", 1 => "-1S", 2 => "999999999999H", _ => "1" })]);
        }
    }

    private static byte[] Frame(byte[] message)
    {
        byte[] framed = new byte[message.Length + 5];
        BinaryPrimitives.WriteInt32BigEndian(framed.AsSpan(1), message.Length);
        message.CopyTo(framed, 5);
        return framed;
    }

    private byte[] Noise(int length)
    {
        byte[] noise = new byte[length];
        _random.NextBytes(noise);
        return noise;
    }
}
