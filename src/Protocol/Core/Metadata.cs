using System.Collections.ObjectModel;
using System.Text;

namespace Grpc.Core;

/// <summary>Ordered request headers, response headers or response trailers; keys are lower case.</summary>
public sealed class Metadata : Collection<Metadata.Entry>
{
    /// <summary>The end of the keys whose values are bytes (base64 on the wire).</summary>
    public const string BinaryHeaderSuffix = "-bin";

    /// <summary>No entries; read-only.</summary>
    public static readonly Metadata Empty = [];

    public void Add(string key, string value) => Add(new Entry(key, value));

    public void Add(string key, byte[] valueBytes) => Add(new Entry(key, valueBytes));

    /// <summary>The last entry of a key, or null.</summary>
    public Entry? Get(string key) => this.LastOrDefault(entry => entry.Key.Equals(key, StringComparison.OrdinalIgnoreCase));

    public string? GetValue(string key) => Get(key)?.Value;

    public byte[]? GetValueBytes(string key) => Get(key)?.ValueBytes;

    public IEnumerable<Entry> GetAll(string key) => this.Where(entry => entry.Key.Equals(key, StringComparison.OrdinalIgnoreCase));

    protected override void InsertItem(int index, Entry item)
    {
        // Empty is shared by everybody who has nothing to say.
        if (ReferenceEquals(this, Empty))
        {
            throw new InvalidOperationException("Metadata.Empty is read-only.");
        }

        ArgumentNullException.ThrowIfNull(item);
        base.InsertItem(index, item);
    }

    /// <summary>One key with its value: printable ASCII text, or bytes when the key ends in <c>-bin</c>.</summary>
    public sealed class Entry
    {
        private readonly string? _text;
        private readonly byte[]? _bytes;

        /// <exception cref="ArgumentException">The key is not valid or ends in <c>-bin</c>, or the text is not printable ASCII.</exception>
        public Entry(string key, string value)
        {
            Key = Normalize(key);
            ArgumentNullException.ThrowIfNull(value);
            if (IsBinary)
            {
                throw new ArgumentException($"the metadata key '{key}' ends in {BinaryHeaderSuffix} and needs a binary value", nameof(key));
            }

            if (value.AsSpan().ContainsAnyExceptInRange(' ', '~'))
            {
                throw new ArgumentException($"the value of the metadata '{key}' is not printable ASCII", nameof(value));
            }

            _text = value;
        }

        /// <exception cref="ArgumentException">The key is not valid or does not end in <c>-bin</c>.</exception>
        public Entry(string key, byte[] valueBytes)
        {
            Key = Normalize(key);
            ArgumentNullException.ThrowIfNull(valueBytes);
            if (!IsBinary)
            {
                throw new ArgumentException(
                    $"the metadata key '{key}' of a binary value does not end in {BinaryHeaderSuffix}", nameof(key));
            }

            _bytes = valueBytes;
        }

        private Entry(string key, string? text, byte[]? bytes)
        {
            Key = key;
            _text = text;
            _bytes = bytes;
        }

        public string Key { get; }

        public bool IsBinary => Key.EndsWith(BinaryHeaderSuffix, StringComparison.Ordinal);

        /// <exception cref="InvalidOperationException">The value is binary.</exception>
        public string Value => _text ?? throw new InvalidOperationException($"the value of the metadata '{Key}' is binary");

        public byte[] ValueBytes => _bytes ?? Encoding.ASCII.GetBytes(_text!);

        public override string ToString() => IsBinary ? $"{Key}: {ValueBytes.Length} bytes" : $"{Key}: {_text}";

        /// <summary>An entry that came over the wire, where HTTP allows more than gRPC does: kept as it is.</summary>
        internal static Entry Received(string key, string value) => new(key.ToLowerInvariant(), value, null);

        /// <inheritdoc cref="Received(string, string)"/>
        internal static Entry Received(string key, byte[] value) => new(key.ToLowerInvariant(), null, value);

        private static string Normalize(string key)
        {
            ArgumentException.ThrowIfNullOrEmpty(key);
            foreach (char c in key)
            {
                if (!char.IsAsciiLetterOrDigit(c) && c is not ('.' or '_' or '-'))
                {
                    throw new ArgumentException(
                        $"the metadata key '{key}' holds '{c}'; letters, digits and . _ - are allowed", nameof(key));
                }
            }

            return key.ToLowerInvariant();
        }
    }
}
