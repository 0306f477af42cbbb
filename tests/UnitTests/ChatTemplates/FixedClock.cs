using System.Globalization;

namespace InferenceServer.UnitTests.ChatTemplates;

/// <summary>A clock that stands still; its zone is UTC.</summary>
internal sealed class FixedClock(string now) : TimeProvider
{
    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.Parse(now, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
}
