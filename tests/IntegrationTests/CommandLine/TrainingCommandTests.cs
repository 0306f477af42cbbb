using System.Text.Json;
using System.Xml.Linq;
using InferenceServer.Cli;
using InferenceServer.IntegrationTests.Training;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.IntegrationTests.CommandLine;

/// <summary>Training through the command line against a real server with a tiny base: from a file of lines to a served adapter.</summary>
[Trait("Category", "Training")]
public sealed class TrainingCommandTests(TrainingBase tiny) : IClassFixture<TrainingBase>, IAsyncLifetime, IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private RunningServer? _server;

    private string Data => Path.Combine(_folder.Path, "task.jsonl");

    public async Task InitializeAsync()
    {
        _server = await tiny.ServeAsync();
        using Stream data = JobSpecs.Data();
        using FileStream file = File.Create(Data);
        await data.CopyToAsync(file);
    }

    public async Task DisposeAsync() => await _server!.DisposeAsync();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task An_adapter_is_trained_published_and_listed()
    {
        string run = Path.Combine(_folder.Path, "run");

        Run trained = await OkAsync(
            [.. Train("pupil"), "--rank", "4", "--targets", "q_proj,v_proj", "--lr", "5e-3", "--exact-match", "4", "--out", run]);

        AdapterInfo adapter = await _server!.Client.Adapters.GetAsync("pupil");
        Assert.Contains($"published pupil@{adapter.Digest}", trained.Output, StringComparison.Ordinal);
        Assert.Contains("32 samples to learn, 8 held out", trained.Output, StringComparison.Ordinal);
        Assert.Contains("step 20/20  loss ", trained.Output, StringComparison.Ordinal);
        Assert.Contains("exact match ", trained.Output, StringComparison.Ordinal);
        Assert.DoesNotContain('\u001b', trained.Output);
        CheckFolder(run);

        Run list = await OkAsync(["jobs", "list"]);
        Assert.Contains("pupil", list.Output, StringComparison.Ordinal);
        Assert.Contains("completed", list.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_adapter_is_judged_beside_the_base_and_downloaded()
    {
        await OkAsync([.. Train("pupil"), "--lr", "5e-3", "--out", Path.Combine(_folder.Path, "judged")]);

        Run judged = await OkAsync(
            ["eval", "--data", Data, "--adapter", "pupil", "--max-sample-tokens", "64", "--exact-match", "4", "--examples", "1"]);
        Assert.Contains("(base)", judged.Output, StringComparison.Ordinal);
        Assert.Contains("pupil", judged.Output, StringComparison.Ordinal);
        Assert.Contains("Perplexity", judged.Output, StringComparison.Ordinal);

        string files = Path.Combine(_folder.Path, "files");
        await OkAsync(["download", "pupil", "--out", files]);
        Assert.True(File.Exists(Path.Combine(files, "adapter_config.json")));
        await OkAsync(["download", "pupil", "--merged", "--out", Path.Combine(_folder.Path, "model")]);
        Assert.True(File.Exists(Path.Combine(_folder.Path, "model", "config.json")));

        Assert.StartsWith("already present pupil@", (await OkAsync(["adapters", "upload", "pupil", files])).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_adapter_over_a_base_in_four_bits_is_trained_and_judged()
    {
        Run run = await OkAsync(
            [.. Train("quantised"), "--method", "qlora", "--rank", "4", "--lr", "5e-3", "--exact-match", "2", "--out", Path.Combine(_folder.Path, "nf4")]);

        Assert.Contains("exact match ", run.Output, StringComparison.Ordinal);
        Assert.Contains("published quantised@", run.Output, StringComparison.Ordinal);
        Assert.Equal("nf4", (await _server!.Client.Training.ListAsync().FirstAsync()).Spec.BaseWeights);
    }

    [Fact]
    public async Task A_detached_job_is_watched_cancelled_resumed_and_deleted()
    {
        string id = JsonDocument.Parse((await OkAsync([.. Train("later", steps: 400), "--lr", "1e-3", "--detach", "--json"])).Output)
            .RootElement.GetProperty("id").GetString()!;

        Assert.Contains("cancelled", (await OkAsync(["jobs", "cancel", id])).Output, StringComparison.Ordinal);
        Run watched = await RunAsync(["jobs", "watch", id]);
        Assert.Equal(ExitCodes.ServerError, watched.Code);
        Assert.Contains($"'inferencectl jobs resume {id}'", watched.Errors, StringComparison.Ordinal);

        await OkAsync(["jobs", "resume", id]);
        Assert.Contains("published later@", (await OkAsync(["jobs", "watch", id])).Output, StringComparison.Ordinal);
        Assert.Contains("400 of 400", (await OkAsync(["jobs", "get", id])).Output, StringComparison.Ordinal);
        Assert.StartsWith("deleted, freed", (await OkAsync(["jobs", "delete", id])).Output, StringComparison.Ordinal);
        Assert.Equal("no jobs", (await OkAsync(["jobs", "list"])).Output.Trim());
    }

    [Fact]
    public async Task Ctrl_c_leaves_the_job_running_and_says_how_to_find_it()
    {
        using CancellationTokenSource interrupt = new();
        using InterruptingWriter output = new(interrupt);
        using StringWriter errors = new();

        int code = await Cli.CommandLine.RunAsync(
            [.. Train("left", steps: 100_000), "--lr", "1e-3", "--out", Path.Combine(_folder.Path, "left"), .. Server()],
            TextReader.Null,
            output,
            errors,
            interrupt.Token);

        Assert.Equal(ExitCodes.Cancelled, code);
        TrainingJob job = await _server!.Client.Training.ListAsync().FirstAsync();
        Assert.Contains($"'inferencectl jobs cancel {job.Id}'", errors.ToString(), StringComparison.Ordinal);
        Assert.Contains(job.State, (TrainingState[])[TrainingState.Queued, TrainingState.Running]);
        await OkAsync(["jobs", "cancel", job.Id]);
    }

    [Fact]
    public async Task Bad_data_names_file_and_line()
    {
        await File.WriteAllTextAsync(Data, "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\"\n");

        Run run = await RunAsync(Train("never"));

        Assert.Equal(ExitCodes.ServerError, run.Code);
        Assert.Contains("task.jsonl, line 2", run.Errors, StringComparison.Ordinal);
        Assert.Single(run.Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Theory]
    [InlineData("--steps and --epochs", "--adapter", "a", "--epochs", "2")]
    [InlineData("--adapter names the adapter", "--rank", "4")]
    [InlineData("ia3 has no rank", "--adapter", "a", "--method", "ia3", "--rank", "4")]
    public async Task What_does_not_go_together_is_said(string message, params string[] options)
    {
        Run run = await RunAsync(["train", "--data", Data, "--steps", "5", .. options]);

        Assert.Equal(ExitCodes.Usage, run.Code);
        Assert.Contains(message, run.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_spec_file_says_everything_and_options_go_over_it()
    {
        TrainingSpec spec = JobSpecs.Plain("from-file", steps: 50);
        string path = Path.Combine(_folder.Path, "spec.json");
        await File.WriteAllTextAsync(path, Google.Protobuf.JsonFormatter.Default.Format(spec));

        await OkAsync(["train", "--data", Data, "--spec", path, "--steps", "6", "--out", Path.Combine(_folder.Path, "spec-run")]);

        TrainingJob job = await _server!.Client.Training.ListAsync().FirstAsync();
        Assert.Equal(6, job.Step);
        Assert.Equal(spec.AdapterConfig, job.Spec.AdapterConfig);
        Assert.Equal(128, job.Spec.Run.MaxBatchTokens);
    }

    [Fact]
    public async Task Methods_are_compared_and_a_comparison_is_taken_up_again()
    {
        string folder = Path.Combine(_folder.Path, "compare");
        string[] compare =
        [
            "compare", "--data", Data, "--out", folder, "--methods", "lora,lora-fa,adalora,full", "--rank", "2", "--ranks", "2",
            "--rates", "5e-3", "--repeats", "1", "--steps", "20", "--batch-tokens", "128", "--max-sample-tokens", "64", "--held-out", "0.2",
            "--exact-match", "2",
        ];

        Run first = await OkAsync(compare);
        Run second = await OkAsync(compare);

        Assert.Contains("lora r2 at 5E-3: held-out loss ", first.Output, StringComparison.Ordinal);
        Assert.Contains("LoRA-FA trains half", first.Output, StringComparison.Ordinal);
        Assert.DoesNotContain(" at 5E-3: ", second.Output, StringComparison.Ordinal);
        JsonElement[] rows = [.. JsonDocument.Parse(await File.ReadAllBytesAsync(Path.Combine(folder, "comparison.json")))
            .RootElement.GetProperty("rows").EnumerateArray()];
        Assert.Equal(["lora", "lora-fa", "adalora", "full"], rows.Select(row => row.GetProperty("method").GetString()));
        Assert.All(rows, row => Assert.Equal("", row.GetProperty("trial").GetProperty("error").GetString()));
        Assert.All(rows, row => Assert.Equal(20, row.GetProperty("trial").GetProperty("heldOut").GetArrayLength()));
        Assert.NotNull(XDocument.Load(Path.Combine(folder, "loss.svg")).Root);
        Assert.Contains("| claim | here | numbers |", await File.ReadAllTextAsync(Path.Combine(folder, "comparison.md")), StringComparison.Ordinal);
        Assert.Empty(await _server!.Client.Training.ListAsync().ToListAsync());
        Assert.Empty(await _server.Client.Adapters.ListAsync(allVersions: true).ToListAsync());
    }

    private static void CheckFolder(string run)
    {
        TrainingEvent[] events = [.. File.ReadLines(Path.Combine(run, "log.jsonl")).Select(TrainingEvent.Parser.ParseJson)];
        Assert.Equal(Enumerable.Range(1, events.Length), events.Select(happened => (int)happened.Number));
        XElement picture = XDocument.Load(Path.Combine(run, "loss.svg")).Root!;
        string[] curves = [.. picture.Descendants().Where(element => element.Name.LocalName == "polyline")
            .Select(line => (string)line.Attribute("points")!)];
        Assert.Equal(events.Count(happened => happened.StepDone is not null), curves[0].Split(' ').Length);
        Assert.Equal(events.Count(happened => happened.Evaluated is not null), curves[1].Split(' ').Length);
        Assert.Equal(TrainingState.Completed, TrainingJob.Parser.ParseJson(File.ReadAllText(Path.Combine(run, "summary.json"))).State);
    }

    private string[] Train(string adapter, int steps = 20) =>
    [
        "train", "--data", Data, "--adapter", adapter, "--steps", $"{steps}", "--batch-tokens", "128", "--max-sample-tokens", "64",
        "--held-out", "0.2", "--seed", "3",
    ];

    private string[] Server() => ["--server", _server!.Host.GrpcAddress.ToString()];

    private async Task<Run> OkAsync(string[] arguments)
    {
        Run run = await RunAsync(arguments);
        Assert.True(run.Code == ExitCodes.Ok, $"{string.Join(' ', arguments)}: exit code {run.Code}: {run.Errors}");
        return run;
    }

    private async Task<Run> RunAsync(string[] arguments)
    {
        using StringWriter output = new();
        using StringWriter errors = new();
        int code = await Cli.CommandLine.RunAsync([.. arguments, .. Server()], TextReader.Null, output, errors);
        return new Run(code, output.ToString(), errors.ToString());
    }

    private sealed record Run(int Code, string Output, string Errors);

    /// <summary>Presses Ctrl-C, as it were, once a line arrives.</summary>
    private sealed class InterruptingWriter(CancellationTokenSource interrupt) : StringWriter
    {
        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            interrupt.Cancel();
        }
    }
}
