using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace InferenceServer.Training.Runs;

/// <summary>A run's log: one JSON object a line, appended by every process that goes on with the run.</summary>
internal sealed class RunLog : IDisposable
{
    private static readonly JsonSerializerOptions s_options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,

        // exp of a large loss is infinite.
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    private readonly FileStream _file;

    public RunLog(string path)
    {
        _file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);

        // A killed process may have left half a line, which must not swallow the next one.
        if (_file.Length > 0)
        {
            _file.Seek(-1, SeekOrigin.End);
            if (_file.ReadByte() != '\n')
            {
                _file.WriteByte((byte)'\n');
            }
        }
    }

    public void Write(TrainingEvent happened) => _file.Write([.. JsonSerializer.SerializeToUtf8Bytes(happened, s_options), (byte)'\n']);

    public void Dispose() => _file.Dispose();
}
