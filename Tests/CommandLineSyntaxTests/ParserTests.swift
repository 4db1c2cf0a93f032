// SPDX-License-Identifier: Apache-2.0

import CommandLineSyntax
import Testing

@Suite("Parsing arguments")
struct ParserTests {
    private static let root = CommandSpec(
        "tool", "A tool.",
        options: [
            OptionSpec("print", short: "p", value: "TEXT", help: "Print."),
            OptionSpec("version", short: "V", help: "Version."),
        ],
        subcommands: [
            CommandSpec(
                "run", "Run.",
                options: [
                    OptionSpec("config", short: "c", value: "FILE", .file, help: "File."),
                    OptionSpec("all", short: "a", help: "All."),
                    OptionSpec("format", value: "F", .choice(["text", "json"]), help: "Format."),
                ],
                arguments: [
                    ArgumentSpec("NAME", required: true, help: "Name."),
                    ArgumentSpec("REST", repeated: true, help: "Rest."),
                ]),
            CommandSpec("group", "Group.", subcommands: [CommandSpec("list", "List.")], runnable: false),
            CommandSpec("secret", "Hidden.", hidden: true),
        ])

    struct Good: Sendable {
        let line: String
        let path: [String]
        var options: [String: [String]] = [:]
        var arguments: [String] = []
    }

    @Test(
        "understands",
        arguments: [
            Good(line: "", path: []),
            Good(line: "-p hello", path: [], options: ["print": ["hello"]]),
            Good(line: "-phello -V", path: [], options: ["print": ["hello"], "version": [""]]),
            Good(
                line: "run x --config=f --all", path: ["run"], options: ["config": ["f"], "all": [""]], arguments: ["x"]
            ),
            Good(
                line: "run -ac f x y z", path: ["run"], options: ["all": [""], "config": ["f"]],
                arguments: ["x", "y", "z"]),
            Good(line: "run -c=f x", path: ["run"], options: ["config": ["f"]], arguments: ["x"]),
            Good(line: "run -- --all -x", path: ["run"], arguments: ["--all", "-x"]),
            Good(line: "run - x", path: ["run"], arguments: ["-", "x"]),
            Good(line: "run x run", path: ["run"], arguments: ["x", "run"]),
            Good(
                line: "run --config a --config b x", path: ["run"], options: ["config": ["a", "b"]], arguments: ["x"]),
            Good(line: "group list", path: ["group", "list"]),
            Good(line: "run --help", path: ["run"], options: ["help": [""]]),
        ])
    func understands(_ good: Good) throws {
        let invocation = try CommandLineParser(Self.root).parse(good.line.split(separator: " ").map(String.init))
        #expect(invocation == Invocation(path: good.path, options: good.options, arguments: good.arguments))
    }

    @Test(
        "says what to change",
        arguments: [
            ("run", "NAME is missing."), ("run x --cofnig f", "unknown option '--cofnig'. Did you mean --config?"),
            ("run x --config", "--config needs a value: --config FILE."), ("run x --all=1", "--all takes no value."),
            ("run x --format jsn", "--format takes one of text, json, not 'jsn'. Did you mean json?"),
            ("rnu x", "unknown command 'rnu'. Did you mean run?"),
            ("group lits", "unknown command 'lits'. Did you mean list?"),
            ("group list x", "unexpected argument 'x'."), ("run x -z", "unknown option '-z'."),
        ])
    func saysWhatToChange(_ line: String, _ message: String) {
        let error = #expect(throws: UsageError.self) {
            try CommandLineParser(Self.root).parse(line.split(separator: " ").map(String.init))
        }
        #expect(error?.description == message)
    }

    @Test("shows help that names everything and hides what is hidden")
    func showsHelp() {
        let help = HelpRenderer.help(for: ["run"], in: Self.root)
        #expect(
            help == """
                Run.

                Usage: tool run [OPTION…] NAME [REST…]

                Arguments:
                  NAME                      Name.
                  [REST…]                   Rest.

                Options:
                  -c, --config FILE         File.
                  -a, --all                 All.
                      --format F            Format.
                  -h, --help                Show this help.

                """)
        #expect(!HelpRenderer.help(for: [], in: Self.root).contains("secret"))
        for text in [
            CompletionRenderer.bash(Self.root), CompletionRenderer.zsh(Self.root), CompletionRenderer.fish(Self.root),
        ] {
            #expect(text.contains("group"))
            #expect(!text.contains("secret"))
        }
    }
}
