using System.Globalization;

namespace InferenceServer.Demo.Language;

/// <summary>Questions about days, months, opposites, colours, capitals and counts. Each fact has wordings to learn it by and one to test it by.</summary>
internal static class FactQuestions
{
    private static readonly (string English, string German)[] s_days =
    [
        ("Monday", "Montag"), ("Tuesday", "Dienstag"), ("Wednesday", "Mittwoch"), ("Thursday", "Donnerstag"), ("Friday", "Freitag"),
        ("Saturday", "Samstag"), ("Sunday", "Sonntag"),
    ];

    private static readonly (string English, string German)[] s_months =
    [
        ("January", "Januar"), ("February", "Februar"), ("March", "März"), ("April", "April"), ("May", "Mai"), ("June", "Juni"),
        ("July", "Juli"), ("August", "August"), ("September", "September"), ("October", "Oktober"), ("November", "November"),
        ("December", "Dezember"),
    ];

    private static readonly ((string English, string German) One, (string English, string German) Other)[] s_opposites =
    [
        (("hot", "heiß"), ("cold", "kalt")), (("big", "groß"), ("small", "klein")), (("fast", "schnell"), ("slow", "langsam")),
        (("old", "alt"), ("young", "jung")), (("light", "hell"), ("dark", "dunkel")), (("rich", "reich"), ("poor", "arm")),
        (("open", "offen"), ("closed", "geschlossen")), (("full", "voll"), ("empty", "leer")), (("wet", "nass"), ("dry", "trocken")),
        (("loud", "laut"), ("quiet", "leise")), (("left", "links"), ("right", "rechts")), (("early", "früh"), ("late", "spät")),
    ];

    private static readonly (string Thing, (string English, string German) Colour)[] s_colours =
    [
        ("grass", ("green", "grün")), ("the sky", ("blue", "blau")), ("blood", ("red", "rot")), ("snow", ("white", "weiß")),
        ("coal", ("black", "schwarz")), ("a lemon", ("yellow", "gelb")), ("chocolate", ("brown", "braun")), ("ash", ("grey", "grau")),
    ];

    private static readonly (string Country, (string English, string German) Capital)[] s_capitals =
    [
        ("France", ("Paris", "Paris")), ("Italy", ("Rome", "Rom")), ("Austria", ("Vienna", "Wien")), ("Germany", ("Berlin", "Berlin")),
        ("Spain", ("Madrid", "Madrid")), ("Poland", ("Warsaw", "Warschau")), ("Greece", ("Athens", "Athen")),
        ("Portugal", ("Lisbon", "Lissabon")), ("Russia", ("Moscow", "Moskau")), ("Japan", ("Tokyo", "Tokio")),
        ("Egypt", ("Cairo", "Kairo")), ("Denmark", ("Copenhagen", "Kopenhagen")), ("Belgium", ("Brussels", "Brüssel")),
        ("Switzerland", ("Bern", "Bern")),
    ];

    private static readonly (string Things, string Place, int Count)[] s_counts =
    [
        ("days", "a week", 7), ("months", "a year", 12), ("hours", "a day", 24), ("minutes", "an hour", 60), ("letters", "the alphabet", 26),
        ("weeks", "a year", 52), ("seasons", "a year", 4), ("cards", "a full pack", 52), ("squares", "a chess board", 64),
    ];

    public static IEnumerable<Question> Create() =>
    [
        .. InOrder("day", s_days),
        .. InOrder("month", s_months),
        .. s_opposites.SelectMany(pair => Opposite(pair.One, pair.Other).Concat(Opposite(pair.Other, pair.One))),
        .. s_colours.SelectMany(fact => Ask(
            Term.Of(fact.Colour), ["What colour is {0}?", "Which colour has {0}?", "Name the colour of {0}.", "Tell me the colour of {0}."], fact.Thing)),
        .. s_capitals.SelectMany(fact => Ask(
            Term.Of(fact.Capital),
            ["What is the capital of {0}?", "Which city is the capital of {0}?", "Name the capital of {0}.", "Tell me the capital of {0}."],
            fact.Country)),
        .. s_counts.SelectMany(fact => Ask(
            Term.Of(fact.Count),
            ["How many {0} are there in {1}?", "How many {0} does {1} have?", "Name the number of {0} in {1}.", "Tell me the number of {0} in {1}."],
            fact.Things,
            fact.Place)),
    ];

    private static IEnumerable<Question> InOrder(string what, (string English, string German)[] names)
    {
        for (int i = 0; i < names.Length; i++)
        {
            Term after = Term.Of(names[(i + 1) % names.Length]);
            Term before = Term.Of(names[(i + names.Length - 1) % names.Length]);
            foreach ((string relation, Term answer) in ((string, Term)[])[("after", after), ("before", before)])
            {
                string[] wordings =
                [
                    $"What {what} comes {relation} {{0}}?", $"Which {what} is right {relation} {{0}}?",
                    $"Name the {what} {relation} {{0}}.", $"Tell me the {what} {relation} {{0}}.",
                ];
                foreach (Question question in Ask(answer, wordings, names[i].English))
                {
                    yield return question;
                }
            }
        }
    }

    private static IEnumerable<Question> Opposite((string English, string German) word, (string English, string German) opposite) => Ask(
        Term.Of(opposite),
        ["What is the opposite of {0}?", "Which word is the opposite of {0}?", "Name the opposite of {0}.", "Tell me the opposite of {0}."],
        word.English);

    private static IEnumerable<Question> Ask(Term answer, string[] wordings, params object[] words)
    {
        int heldOut = HeldOutRule.HeldOutWording(string.Format(CultureInfo.InvariantCulture, wordings[0], words), wordings.Length);
        return wordings.Select((wording, index) => new Question(
            QuestionKind.Fact, string.Format(CultureInfo.InvariantCulture, wording, words), answer, index == heldOut));
    }
}
