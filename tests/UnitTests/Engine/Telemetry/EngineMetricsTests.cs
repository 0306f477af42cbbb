using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using InferenceServer.AdapterStore;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Telemetry;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Telemetry;

public sealed class EngineMetricsTests
{
    [Fact]
    public async Task Every_instrument_reports_and_every_name_and_unit_is_given()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        ConcurrentDictionary<string, Instrument> instruments = new();
        ConcurrentDictionary<string, bool> reported = new();
        using MeterListener listener = new();
        listener.InstrumentPublished = (instrument, self) =>
        {
            if (instrument.Meter.Name == EngineMetrics.MeterName)
            {
                instruments[instrument.Name] = instrument;
                self.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<double>((instrument, _, _, _) => reported[instrument.Name] = true);
        listener.SetMeasurementEventCallback<long>((instrument, _, _, _) => reported[instrument.Name] = true);
        listener.SetMeasurementEventCallback<int>((instrument, _, _, _) => reported[instrument.Name] = true);
        listener.Start();

        await host.GenerateAsync(EngineHost.Request("Count me", 5, new AdapterReference("lora-0")));
        await host.Engine.MergeAsync(EngineHost.Id("lora-0"));
        await host.Engine.UnmergeAsync();
        listener.RecordObservableInstruments();

        Assert.True(instruments.Count >= 15, $"{instruments.Count} instruments");
        Assert.All(instruments.Values, instrument => Assert.True(instrument.Unit?.Length > 0 && instrument.Description?.Length > 0, instrument.Name));
        Assert.Equal(instruments.Keys.Order(), reported.Keys.Order());
    }

    [Fact]
    public void Names_are_bounded_and_stay()
    {
        AdapterLabels labels = new(2);

        Assert.Equal("a", labels.For("a").Value);
        Assert.Equal("b", labels.For("b").Value);
        Assert.Equal(AdapterLabels.Other, labels.For("c").Value);
        Assert.Equal("a", labels.For("a").Value);
        Assert.Equal(AdapterLabels.Base, labels.For(null).Value);
    }

    [Fact]
    public void An_adapter_cannot_be_taken_for_the_base_or_for_the_others()
    {
        Assert.False(AdapterName.IsValid(AdapterLabels.Base));
        Assert.False(AdapterName.IsValid(AdapterLabels.Other));
    }
}
