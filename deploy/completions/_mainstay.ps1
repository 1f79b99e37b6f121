
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'mainstay' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'mainstay'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'mainstay' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The configuration: a YAML file, or a directory of them. Default: mainstay.yaml, if it is there')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration: a YAML file, or a directory of them. Default: mainstay.yaml, if it is there')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('run', 'run', [CompletionResultType]::ParameterValue, 'Serve (the same as no command)')
            [CompletionResult]::new('init', 'init', [CompletionResultType]::ParameterValue, 'Ask what stands before what, look whether it is there, and write a first configuration')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Validate a configuration; print worst cases per route, and warn about what cannot work')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Show the effective configuration, what differs between two, and what may be written')
            [CompletionResult]::new('explain', 'explain', [CompletionResultType]::ParameterValue, 'Say what a finding or a problem means, and what to do about it')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'How it goes, on one screen: exit code 0 if all is well, 1 if something needs somebody')
            [CompletionResult]::new('top', 'top', [CompletionResultType]::ParameterValue, 'The same again each second on the whole terminal, with the routes and the writes that are open')
            [CompletionResult]::new('ops', 'ops', [CompletionResultType]::ParameterValue, 'Look at operations, and settle what the machine could not')
            [CompletionResult]::new('breakers', 'breakers', [CompletionResultType]::ParameterValue, 'Look at circuit breakers, and hold them open, closed or disabled')
            [CompletionResult]::new('routes', 'routes', [CompletionResultType]::ParameterValue, 'List what is served, and how the last minute of it went')
            [CompletionResult]::new('upstreams', 'upstreams', [CompletionResultType]::ParameterValue, 'List where calls go, and how many are on their way there')
            [CompletionResult]::new('limits', 'limits', [CompletionResultType]::ParameterValue, 'List rate and concurrency limits, and how much of them is used')
            [CompletionResult]::new('log-level', 'log-level', [CompletionResultType]::ParameterValue, 'Say how much is logged, or have more or less of it')
            [CompletionResult]::new('reload', 'reload', [CompletionResultType]::ParameterValue, 'Read the configuration again, and take it if it is valid')
            [CompletionResult]::new('audit', 'audit', [CompletionResultType]::ParameterValue, 'Show who did what, the latest first')
            [CompletionResult]::new('drain', 'drain', [CompletionResultType]::ParameterValue, 'Turn traffic away: readiness fails and clients are told to go elsewhere, while what comes is served; a preStop hook')
            [CompletionResult]::new('probe', 'probe', [CompletionResultType]::ParameterValue, 'Ask whether a proxy is alive, or ready for traffic: exit code 0 or 1')
            [CompletionResult]::new('ledger', 'ledger', [CompletionResultType]::ParameterValue, 'Look into a ledger, copy it, put a copy in place: check, stats, backup, restore and more')
            [CompletionResult]::new('openapi', 'openapi', [CompletionResultType]::ParameterValue, 'Print what may be asked of a proxy, for programs: by clients, or by operators')
            [CompletionResult]::new('completion', 'completion', [CompletionResultType]::ParameterValue, 'Print what a shell needs to complete this command line: mainstay completion bash')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Write the manual pages')
            [CompletionResult]::new('version', 'version', [CompletionResultType]::ParameterValue, 'Say which build this is: version, commit, profile, target')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'Tell the story of one timed-out write, from 504 to its settled outcome, on this machine')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mainstay;run' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The configuration: a YAML file, or a directory of them. Default: mainstay.yaml, if it is there')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration: a YAML file, or a directory of them. Default: mainstay.yaml, if it is there')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mainstay;init' {
            [CompletionResult]::new('--port', '--port', [CompletionResultType]::ParameterName, 'The port on which clients come')
            [CompletionResult]::new('--service', '--service', [CompletionResultType]::ParameterName, 'The service behind: `http://127.0.0.1:9000`')
            [CompletionResult]::new('--write', '--write', [CompletionResultType]::ParameterName, 'The path of writes that must not happen twice, with all below it: /payments. May be given several times')
            [CompletionResult]::new('--status', '--status', [CompletionResultType]::ParameterName, 'How the service is asked what became of a write: ''GET /payments/by-ref/{key}''; `none` if it cannot be')
            [CompletionResult]::new('--success', '--success', [CompletionResultType]::ParameterName, 'What the answer says of a write that was done: ''/state=SUCCESS'', a JSON Pointer and a value. Without it, any 200')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Where the configuration is written')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Where the configuration is written')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Write over a file that is there')
            [CompletionResult]::new('--offline', '--offline', [CompletionResultType]::ParameterName, 'Do not look whether the service is there')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mainstay;check' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The same, as everywhere else')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The same, as everywhere else')
            [CompletionResult]::new('--deny', '--deny', [CompletionResultType]::ParameterName, 'What makes the check fail beside errors')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to say it: for people, or as a JSON list of findings')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to say it: for people, or as a JSON list of findings')
            [CompletionResult]::new('--online', '--online', [CompletionResultType]::ParameterName, 'Also resolve and connect to every endpoint, open the ledger to read, and ask each status endpoint about a key that nobody used; nothing is changed')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mainstay;config' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Print the whole effective configuration, every default filled in')
            [CompletionResult]::new('diff', 'diff', [CompletionResultType]::ParameterValue, 'Print each setting that differs between two configurations: 0 if they mean the same, 1 if they do not')
            [CompletionResult]::new('live', 'live', [CompletionResultType]::ParameterValue, 'Print the configuration that a running proxy serves, with its file, and why a reload was refused')
            [CompletionResult]::new('schema', 'schema', [CompletionResultType]::ParameterValue, 'Print the JSON Schema from which editors complete')
            [CompletionResult]::new('reference', 'reference', [CompletionResultType]::ParameterValue, 'Print every key as a page of Markdown: what it takes, its default, what it means')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mainstay;config;show' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The same, as everywhere else')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The same, as everywhere else')
            [CompletionResult]::new('--reveal', '--reveal', [CompletionResultType]::ParameterName, 'Also show what came from the environment, which is `«from ${NAME}»` otherwise')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mainstay;config;diff' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mainstay;config;live' {
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;config;schema' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mainstay;config;reference' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mainstay;config;help' {
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Print the whole effective configuration, every default filled in')
            [CompletionResult]::new('diff', 'diff', [CompletionResultType]::ParameterValue, 'Print each setting that differs between two configurations: 0 if they mean the same, 1 if they do not')
            [CompletionResult]::new('live', 'live', [CompletionResultType]::ParameterValue, 'Print the configuration that a running proxy serves, with its file, and why a reload was refused')
            [CompletionResult]::new('schema', 'schema', [CompletionResultType]::ParameterValue, 'Print the JSON Schema from which editors complete')
            [CompletionResult]::new('reference', 'reference', [CompletionResultType]::ParameterValue, 'Print every key as a page of Markdown: what it takes, its default, what it means')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mainstay;config;help;show' {
            break
        }
        'mainstay;config;help;diff' {
            break
        }
        'mainstay;config;help;live' {
            break
        }
        'mainstay;config;help;schema' {
            break
        }
        'mainstay;config;help;reference' {
            break
        }
        'mainstay;config;help;help' {
            break
        }
        'mainstay;explain' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mainstay;status' {
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Again and again, so long after each time [default: 2s]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;top' {
            [CompletionResult]::new('--sort', '--sort', [CompletionResultType]::ParameterName, 'Which routes come first')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--once', '--once', [CompletionResultType]::ParameterName, 'Print one frame and end, for scripts; its width is $COLUMNS, the terminal''s, or 120')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ops' {
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('ls', 'ls', [CompletionResultType]::ParameterValue, 'List what is open or needs a person, the oldest first (the same as no command)')
            [CompletionResult]::new('tail', 'tail', [CompletionResultType]::ParameterValue, 'Tell what happens, as it happens: writes that change, breakers, configurations, the ledger; with --kind request, requests')
            [CompletionResult]::new('find', 'find', [CompletionResultType]::ParameterValue, 'Find the writes under a key that a caller sent')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Tell the story of one operation, and what may be done next')
            [CompletionResult]::new('resolve', 'resolve', [CompletionResultType]::ParameterValue, 'Say what became of a write that is unknown, or take a flag away')
            [CompletionResult]::new('settle', 'settle', [CompletionResultType]::ParameterValue, 'Say what became of a write that is unknown, or take a flag away')
            [CompletionResult]::new('reveal', 'reveal', [CompletionResultType]::ParameterValue, 'Show the key of a write, where the proxy''s configuration allows it; who looked, and why, is kept')
            [CompletionResult]::new('query', 'query', [CompletionResultType]::ParameterValue, 'Ask the service now what became of a write')
            [CompletionResult]::new('redispatch', 'redispatch', [CompletionResultType]::ParameterValue, 'Send a write again, byte for byte, where the service honours its key')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mainstay;ops;ls' {
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Only in this state')
            [CompletionResult]::new('--route', '--route', [CompletionResultType]::ParameterName, 'Only of this route')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'Only of this upstream')
            [CompletionResult]::new('--policy', '--policy', [CompletionResultType]::ParameterName, 'Only under this policy')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Only of this trace')
            [CompletionResult]::new('--older', '--older', [CompletionResultType]::ParameterName, 'Only older than this: 30s, 10m, 24h')
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Only begun since then: 2h ago, or a time')
            [CompletionResult]::new('--until', '--until', [CompletionResultType]::ParameterName, 'Only begun before then')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Only for this reason: `conflict`, `resolve_exhausted`, `attempt_timeout`, ...')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'At most so many; 0 is all [default: 1000]')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Again and again, so long after each time [default: 2s]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--attention', '--attention', [CompletionResultType]::ParameterName, 'Only those that wait for a person')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Those that are settled, too')
            [CompletionResult]::new('--newest', '--newest', [CompletionResultType]::ParameterName, 'The latest first')
            [CompletionResult]::new('--group', '--group', [CompletionResultType]::ParameterName, 'How many there are of each route and reason, instead of each')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ops;tail' {
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'What is told, several with commas [default: operation,breaker,config,ledger]')
            [CompletionResult]::new('--route', '--route', [CompletionResultType]::ParameterName, 'Only what is about this route')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'Only what is about this upstream')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Only operations that came into this state')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'End after so many')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--attention', '--attention', [CompletionResultType]::ParameterName, 'Only operations that need a person')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ops;find' {
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'The key, without its quotes; `-` reads it from the standard input, where no list of processes shows it, or several, one a line')
            [CompletionResult]::new('--principal', '--principal', [CompletionResultType]::ParameterName, 'The caller whose key it is, where callers are told apart: with it every write is found, whether its service can be asked or not')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'Only writes to this upstream')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Who looks; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ops;show' {
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'A key is no id: it leads to one')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ops;resolve' {
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Only in this state')
            [CompletionResult]::new('--route', '--route', [CompletionResultType]::ParameterName, 'Only of this route')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'Only of this upstream')
            [CompletionResult]::new('--policy', '--policy', [CompletionResultType]::ParameterName, 'Only under this policy')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Only of this trace')
            [CompletionResult]::new('--older', '--older', [CompletionResultType]::ParameterName, 'Only older than this: 30s, 10m, 24h')
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Only begun since then: 2h ago, or a time')
            [CompletionResult]::new('--until', '--until', [CompletionResultType]::ParameterName, 'Only begun before then')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'A key is no id: it leads to one')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'What became of the write, for good. `failed`: its caller is told that nothing was done and that a new key is safe; `not_executed` frees its key, so that a repeat executes. On a terminal both ask back')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; kept in the audit trail')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--attention', '--attention', [CompletionResultType]::ParameterName, 'Only those that wait for a person')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Without asking back: act on all that match, which are only shown otherwise; say `failed` or `not_executed` of several; acknowledge what is told to have happened')
            [CompletionResult]::new('--acknowledge', '--acknowledge', [CompletionResultType]::ParameterName, 'The effect of a contradicted write has been taken back: the flag goes, its state stays, and with `not_executed` a repeat executes')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ops;settle' {
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Only in this state')
            [CompletionResult]::new('--route', '--route', [CompletionResultType]::ParameterName, 'Only of this route')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'Only of this upstream')
            [CompletionResult]::new('--policy', '--policy', [CompletionResultType]::ParameterName, 'Only under this policy')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Only of this trace')
            [CompletionResult]::new('--older', '--older', [CompletionResultType]::ParameterName, 'Only older than this: 30s, 10m, 24h')
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Only begun since then: 2h ago, or a time')
            [CompletionResult]::new('--until', '--until', [CompletionResultType]::ParameterName, 'Only begun before then')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'A key is no id: it leads to one')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'What became of the write, for good. `failed`: its caller is told that nothing was done and that a new key is safe; `not_executed` frees its key, so that a repeat executes. On a terminal both ask back')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; kept in the audit trail')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--attention', '--attention', [CompletionResultType]::ParameterName, 'Only those that wait for a person')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Without asking back: act on all that match, which are only shown otherwise; say `failed` or `not_executed` of several; acknowledge what is told to have happened')
            [CompletionResult]::new('--acknowledge', '--acknowledge', [CompletionResultType]::ParameterName, 'The effect of a contradicted write has been taken back: the flag goes, its state stays, and with `not_executed` a repeat executes')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ops;reveal' {
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'A key is no id: it leads to one')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; kept in the audit trail')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ops;query' {
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Only in this state')
            [CompletionResult]::new('--route', '--route', [CompletionResultType]::ParameterName, 'Only of this route')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'Only of this upstream')
            [CompletionResult]::new('--policy', '--policy', [CompletionResultType]::ParameterName, 'Only under this policy')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Only of this trace')
            [CompletionResult]::new('--older', '--older', [CompletionResultType]::ParameterName, 'Only older than this: 30s, 10m, 24h')
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Only begun since then: 2h ago, or a time')
            [CompletionResult]::new('--until', '--until', [CompletionResultType]::ParameterName, 'Only begun before then')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'A key is no id: it leads to one')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; kept in the audit trail')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--attention', '--attention', [CompletionResultType]::ParameterName, 'Only those that wait for a person')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Without asking back: act on all that match, which are only shown otherwise; say `failed` or `not_executed` of several; acknowledge what is told to have happened')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ops;redispatch' {
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Only in this state')
            [CompletionResult]::new('--route', '--route', [CompletionResultType]::ParameterName, 'Only of this route')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'Only of this upstream')
            [CompletionResult]::new('--policy', '--policy', [CompletionResultType]::ParameterName, 'Only under this policy')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Only of this trace')
            [CompletionResult]::new('--older', '--older', [CompletionResultType]::ParameterName, 'Only older than this: 30s, 10m, 24h')
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Only begun since then: 2h ago, or a time')
            [CompletionResult]::new('--until', '--until', [CompletionResultType]::ParameterName, 'Only begun before then')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'A key is no id: it leads to one')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; kept in the audit trail')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--attention', '--attention', [CompletionResultType]::ParameterName, 'Only those that wait for a person')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Without asking back: act on all that match, which are only shown otherwise; say `failed` or `not_executed` of several; acknowledge what is told to have happened')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ops;help' {
            [CompletionResult]::new('ls', 'ls', [CompletionResultType]::ParameterValue, 'List what is open or needs a person, the oldest first (the same as no command)')
            [CompletionResult]::new('tail', 'tail', [CompletionResultType]::ParameterValue, 'Tell what happens, as it happens: writes that change, breakers, configurations, the ledger; with --kind request, requests')
            [CompletionResult]::new('find', 'find', [CompletionResultType]::ParameterValue, 'Find the writes under a key that a caller sent')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Tell the story of one operation, and what may be done next')
            [CompletionResult]::new('resolve', 'resolve', [CompletionResultType]::ParameterValue, 'Say what became of a write that is unknown, or take a flag away')
            [CompletionResult]::new('reveal', 'reveal', [CompletionResultType]::ParameterValue, 'Show the key of a write, where the proxy''s configuration allows it; who looked, and why, is kept')
            [CompletionResult]::new('query', 'query', [CompletionResultType]::ParameterValue, 'Ask the service now what became of a write')
            [CompletionResult]::new('redispatch', 'redispatch', [CompletionResultType]::ParameterValue, 'Send a write again, byte for byte, where the service honours its key')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mainstay;ops;help;ls' {
            break
        }
        'mainstay;ops;help;tail' {
            break
        }
        'mainstay;ops;help;find' {
            break
        }
        'mainstay;ops;help;show' {
            break
        }
        'mainstay;ops;help;resolve' {
            break
        }
        'mainstay;ops;help;reveal' {
            break
        }
        'mainstay;ops;help;query' {
            break
        }
        'mainstay;ops;help;redispatch' {
            break
        }
        'mainstay;ops;help;help' {
            break
        }
        'mainstay;breakers' {
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('ls', 'ls', [CompletionResultType]::ParameterValue, 'List circuit breakers (the same as no command)')
            [CompletionResult]::new('force', 'force', [CompletionResultType]::ParameterValue, 'Hold a breaker where it is put, for a time, or until it is released or the proxy ends')
            [CompletionResult]::new('release', 'release', [CompletionResultType]::ParameterValue, 'Let a held breaker go: closed, with nothing counted')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mainstay;breakers;ls' {
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;breakers;force' {
            [CompletionResult]::new('--for', '--for', [CompletionResultType]::ParameterName, 'Release it by itself after such a time, at most 24h')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; kept in the audit trail')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;breakers;release' {
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; kept in the audit trail')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;breakers;help' {
            [CompletionResult]::new('ls', 'ls', [CompletionResultType]::ParameterValue, 'List circuit breakers (the same as no command)')
            [CompletionResult]::new('force', 'force', [CompletionResultType]::ParameterValue, 'Hold a breaker where it is put, for a time, or until it is released or the proxy ends')
            [CompletionResult]::new('release', 'release', [CompletionResultType]::ParameterValue, 'Let a held breaker go: closed, with nothing counted')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mainstay;breakers;help;ls' {
            break
        }
        'mainstay;breakers;help;force' {
            break
        }
        'mainstay;breakers;help;release' {
            break
        }
        'mainstay;breakers;help;help' {
            break
        }
        'mainstay;routes' {
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;upstreams' {
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;limits' {
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;log-level' {
            [CompletionResult]::new('--for', '--for', [CompletionResultType]::ParameterName, 'Go back after so long to what the configuration says; without it, the next reload does')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; kept in the audit trail')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Who does it; kept in the audit trail [default: $USER@host]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;reload' {
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; kept in the audit trail')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Who does it; kept in the audit trail [default: $USER@host]')
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;audit' {
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--operation', '--operation', [CompletionResultType]::ParameterName, 'Only about this operation: its id, or what that begins with')
            [CompletionResult]::new('--newer', '--newer', [CompletionResultType]::ParameterName, 'Only what is newer than this: 30s, 10m, 24h')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Only what this one did')
            [CompletionResult]::new('--action', '--action', [CompletionResultType]::ParameterName, 'Only acts of this kind: resolve, query, redispatch, force, release, find, reveal, log-level, drain, reload, ...')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'At most so many; 0 is all')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;drain' {
            [CompletionResult]::new('--admin', '--admin', [CompletionResultType]::ParameterName, 'The proxy''s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]')
            [CompletionResult]::new('--server-name', '--server-name', [CompletionResultType]::ParameterName, 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'The one URI its certificate must have instead of a name, as SPIFFE''s do [default: $MAINSTAY_IDENTITY]')
            [CompletionResult]::new('--bundle-file', '--bundle-file', [CompletionResultType]::ParameterName, 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]')
            [CompletionResult]::new('--cert-file', '--cert-file', [CompletionResultType]::ParameterName, 'Our certificate [default: $MAINSTAY_CERT_FILE]')
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key of our certificate [default: $MAINSTAY_KEY_FILE]')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is')
            [CompletionResult]::new('--scope', '--scope', [CompletionResultType]::ParameterName, 'Which listeners')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Return only after so long, such as 5s')
            [CompletionResult]::new('--utc', '--utc', [CompletionResultType]::ParameterName, 'Moments in UTC, which they are in anyway')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Moments in the time of this machine')
            [CompletionResult]::new('--undo', '--undo', [CompletionResultType]::ParameterName, 'Take a drain back: readiness returns, and clients are told nothing more; refused once SIGTERM has come')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;probe' {
            [CompletionResult]::new('--probes', '--probes', [CompletionResultType]::ParameterName, 'The proxy''s probes listener [default: $MAINSTAY_PROBES, or http://127.0.0.1:9190]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Check the file and everything that must hold in it; 0 if nothing is wrong, else 1')
            [CompletionResult]::new('stats', 'stats', [CompletionResultType]::ParameterValue, 'Show counts and sizes')
            [CompletionResult]::new('backup', 'backup', [CompletionResultType]::ParameterValue, 'Copy it to a file, also beside the proxy that writes it; the copy is checked')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Put a copy where a ledger was lost, and say what it has forgotten; nothing is written over')
            [CompletionResult]::new('lift', 'lift', [CompletionResultType]::ParameterValue, 'End the quarantine of a restored copy: keys without a record are new again. No proxy may run on it')
            [CompletionResult]::new('salvage', 'salvage', [CompletionResultType]::ParameterValue, 'Print what can still be read of a damaged ledger, as `export` does; 1 if something could not be')
            [CompletionResult]::new('rekey', 'rekey', [CompletionResultType]::ParameterValue, 'Seal everything with the first key of the key file, so that no other is needed. No proxy may run on it')
            [CompletionResult]::new('schema', 'schema', [CompletionResultType]::ParameterValue, 'The schema of a ledger in PostgreSQL: the SQL that makes or migrates it, for whoever owns the database')
            [CompletionResult]::new('replicas', 'replicas', [CompletionResultType]::ParameterValue, 'List the replicas that share a ledger in PostgreSQL, and those that ended within the last day')
            [CompletionResult]::new('fence', 'fence', [CompletionResultType]::ParameterValue, 'Take a replica of a ledger in PostgreSQL out by hand: the others take over what it owns, and it sends nothing more')
            [CompletionResult]::new('export', 'export', [CompletionResultType]::ParameterValue, 'Print the document of every operation, a line of JSON each: no bodies, no keys')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mainstay;ledger;check' {
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key file, if the ledger is sealed and no configuration says so')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger;stats' {
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key file, if the ledger is sealed and no configuration says so')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'The same as -o json')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger;backup' {
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key file, if the ledger is sealed and no configuration says so')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger;restore' {
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key file, if the ledger is sealed and no configuration says so')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--from', '--from', [CompletionResultType]::ParameterName, 'The copy, as `mainstay ledger backup` made it')
            [CompletionResult]::new('--quarantine', '--quarantine', [CompletionResultType]::ParameterName, 'Refuse keys without a record until they cannot be of lost writes any more (the longest `tombstone`), or until `lift`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger;lift' {
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key file, if the ledger is sealed and no configuration says so')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger;salvage' {
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key file, if the ledger is sealed and no configuration says so')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger;rekey' {
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key file, if the ledger is sealed and no configuration says so')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger;schema' {
            [CompletionResult]::new('--from', '--from', [CompletionResultType]::ParameterName, 'The version that is there already; 0 is none')
            [CompletionResult]::new('--grant', '--grant', [CompletionResultType]::ParameterName, 'Also give this role what the proxy needs, which is no right to change the schema')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--sql', '--sql', [CompletionResultType]::ParameterName, 'Print the SQL that makes it, in one transaction')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger;replicas' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The configuration that names it. Default: mainstay.yaml, if it is there')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration that names it. Default: mainstay.yaml, if it is there')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger;fence' {
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; it is kept in the audit trail')
            [CompletionResult]::new('--actor', '--actor', [CompletionResultType]::ParameterName, 'Who you are, for the audit trail. Default: the user''s name and the machine''s')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The configuration that names it. Default: mainstay.yaml, if it is there')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration that names it. Default: mainstay.yaml, if it is there')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger;export' {
            [CompletionResult]::new('--key-file', '--key-file', [CompletionResultType]::ParameterName, 'The key file, if the ledger is sealed and no configuration says so')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;ledger;help' {
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Check the file and everything that must hold in it; 0 if nothing is wrong, else 1')
            [CompletionResult]::new('stats', 'stats', [CompletionResultType]::ParameterValue, 'Show counts and sizes')
            [CompletionResult]::new('backup', 'backup', [CompletionResultType]::ParameterValue, 'Copy it to a file, also beside the proxy that writes it; the copy is checked')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Put a copy where a ledger was lost, and say what it has forgotten; nothing is written over')
            [CompletionResult]::new('lift', 'lift', [CompletionResultType]::ParameterValue, 'End the quarantine of a restored copy: keys without a record are new again. No proxy may run on it')
            [CompletionResult]::new('salvage', 'salvage', [CompletionResultType]::ParameterValue, 'Print what can still be read of a damaged ledger, as `export` does; 1 if something could not be')
            [CompletionResult]::new('rekey', 'rekey', [CompletionResultType]::ParameterValue, 'Seal everything with the first key of the key file, so that no other is needed. No proxy may run on it')
            [CompletionResult]::new('schema', 'schema', [CompletionResultType]::ParameterValue, 'The schema of a ledger in PostgreSQL: the SQL that makes or migrates it, for whoever owns the database')
            [CompletionResult]::new('replicas', 'replicas', [CompletionResultType]::ParameterValue, 'List the replicas that share a ledger in PostgreSQL, and those that ended within the last day')
            [CompletionResult]::new('fence', 'fence', [CompletionResultType]::ParameterValue, 'Take a replica of a ledger in PostgreSQL out by hand: the others take over what it owns, and it sends nothing more')
            [CompletionResult]::new('export', 'export', [CompletionResultType]::ParameterValue, 'Print the document of every operation, a line of JSON each: no bodies, no keys')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mainstay;ledger;help;check' {
            break
        }
        'mainstay;ledger;help;stats' {
            break
        }
        'mainstay;ledger;help;backup' {
            break
        }
        'mainstay;ledger;help;restore' {
            break
        }
        'mainstay;ledger;help;lift' {
            break
        }
        'mainstay;ledger;help;salvage' {
            break
        }
        'mainstay;ledger;help;rekey' {
            break
        }
        'mainstay;ledger;help;schema' {
            break
        }
        'mainstay;ledger;help;replicas' {
            break
        }
        'mainstay;ledger;help;fence' {
            break
        }
        'mainstay;ledger;help;export' {
            break
        }
        'mainstay;ledger;help;help' {
            break
        }
        'mainstay;openapi' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;completion' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mainstay;man' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mainstay;version' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'For people, or for programs')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mainstay;demo' {
            [CompletionResult]::new('--port', '--port', [CompletionResultType]::ParameterName, 'Mainstay''s port on 127.0.0.1 [default: 8080 if free, else any free one]')
            [CompletionResult]::new('--service-port', '--service-port', [CompletionResultType]::ParameterName, 'The payment service''s port on 127.0.0.1 [default: 9000 if free, else any free one]')
            [CompletionResult]::new('--replicas', '--replicas', [CompletionResultType]::ParameterName, 'So many processes of Mainstay on one ledger, in a PostgreSQL that is found on this machine: from 2 to 9')
            [CompletionResult]::new('--once', '--once', [CompletionResultType]::ParameterName, 'End after the story instead of staying up; exits with 0 only if every step held')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mainstay;help' {
            [CompletionResult]::new('run', 'run', [CompletionResultType]::ParameterValue, 'Serve (the same as no command)')
            [CompletionResult]::new('init', 'init', [CompletionResultType]::ParameterValue, 'Ask what stands before what, look whether it is there, and write a first configuration')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Validate a configuration; print worst cases per route, and warn about what cannot work')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Show the effective configuration, what differs between two, and what may be written')
            [CompletionResult]::new('explain', 'explain', [CompletionResultType]::ParameterValue, 'Say what a finding or a problem means, and what to do about it')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'How it goes, on one screen: exit code 0 if all is well, 1 if something needs somebody')
            [CompletionResult]::new('top', 'top', [CompletionResultType]::ParameterValue, 'The same again each second on the whole terminal, with the routes and the writes that are open')
            [CompletionResult]::new('ops', 'ops', [CompletionResultType]::ParameterValue, 'Look at operations, and settle what the machine could not')
            [CompletionResult]::new('breakers', 'breakers', [CompletionResultType]::ParameterValue, 'Look at circuit breakers, and hold them open, closed or disabled')
            [CompletionResult]::new('routes', 'routes', [CompletionResultType]::ParameterValue, 'List what is served, and how the last minute of it went')
            [CompletionResult]::new('upstreams', 'upstreams', [CompletionResultType]::ParameterValue, 'List where calls go, and how many are on their way there')
            [CompletionResult]::new('limits', 'limits', [CompletionResultType]::ParameterValue, 'List rate and concurrency limits, and how much of them is used')
            [CompletionResult]::new('log-level', 'log-level', [CompletionResultType]::ParameterValue, 'Say how much is logged, or have more or less of it')
            [CompletionResult]::new('reload', 'reload', [CompletionResultType]::ParameterValue, 'Read the configuration again, and take it if it is valid')
            [CompletionResult]::new('audit', 'audit', [CompletionResultType]::ParameterValue, 'Show who did what, the latest first')
            [CompletionResult]::new('drain', 'drain', [CompletionResultType]::ParameterValue, 'Turn traffic away: readiness fails and clients are told to go elsewhere, while what comes is served; a preStop hook')
            [CompletionResult]::new('probe', 'probe', [CompletionResultType]::ParameterValue, 'Ask whether a proxy is alive, or ready for traffic: exit code 0 or 1')
            [CompletionResult]::new('ledger', 'ledger', [CompletionResultType]::ParameterValue, 'Look into a ledger, copy it, put a copy in place: check, stats, backup, restore and more')
            [CompletionResult]::new('openapi', 'openapi', [CompletionResultType]::ParameterValue, 'Print what may be asked of a proxy, for programs: by clients, or by operators')
            [CompletionResult]::new('completion', 'completion', [CompletionResultType]::ParameterValue, 'Print what a shell needs to complete this command line: mainstay completion bash')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Write the manual pages')
            [CompletionResult]::new('version', 'version', [CompletionResultType]::ParameterValue, 'Say which build this is: version, commit, profile, target')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'Tell the story of one timed-out write, from 504 to its settled outcome, on this machine')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mainstay;help;run' {
            break
        }
        'mainstay;help;init' {
            break
        }
        'mainstay;help;check' {
            break
        }
        'mainstay;help;config' {
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Print the whole effective configuration, every default filled in')
            [CompletionResult]::new('diff', 'diff', [CompletionResultType]::ParameterValue, 'Print each setting that differs between two configurations: 0 if they mean the same, 1 if they do not')
            [CompletionResult]::new('live', 'live', [CompletionResultType]::ParameterValue, 'Print the configuration that a running proxy serves, with its file, and why a reload was refused')
            [CompletionResult]::new('schema', 'schema', [CompletionResultType]::ParameterValue, 'Print the JSON Schema from which editors complete')
            [CompletionResult]::new('reference', 'reference', [CompletionResultType]::ParameterValue, 'Print every key as a page of Markdown: what it takes, its default, what it means')
            break
        }
        'mainstay;help;config;show' {
            break
        }
        'mainstay;help;config;diff' {
            break
        }
        'mainstay;help;config;live' {
            break
        }
        'mainstay;help;config;schema' {
            break
        }
        'mainstay;help;config;reference' {
            break
        }
        'mainstay;help;explain' {
            break
        }
        'mainstay;help;status' {
            break
        }
        'mainstay;help;top' {
            break
        }
        'mainstay;help;ops' {
            [CompletionResult]::new('ls', 'ls', [CompletionResultType]::ParameterValue, 'List what is open or needs a person, the oldest first (the same as no command)')
            [CompletionResult]::new('tail', 'tail', [CompletionResultType]::ParameterValue, 'Tell what happens, as it happens: writes that change, breakers, configurations, the ledger; with --kind request, requests')
            [CompletionResult]::new('find', 'find', [CompletionResultType]::ParameterValue, 'Find the writes under a key that a caller sent')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Tell the story of one operation, and what may be done next')
            [CompletionResult]::new('resolve', 'resolve', [CompletionResultType]::ParameterValue, 'Say what became of a write that is unknown, or take a flag away')
            [CompletionResult]::new('reveal', 'reveal', [CompletionResultType]::ParameterValue, 'Show the key of a write, where the proxy''s configuration allows it; who looked, and why, is kept')
            [CompletionResult]::new('query', 'query', [CompletionResultType]::ParameterValue, 'Ask the service now what became of a write')
            [CompletionResult]::new('redispatch', 'redispatch', [CompletionResultType]::ParameterValue, 'Send a write again, byte for byte, where the service honours its key')
            break
        }
        'mainstay;help;ops;ls' {
            break
        }
        'mainstay;help;ops;tail' {
            break
        }
        'mainstay;help;ops;find' {
            break
        }
        'mainstay;help;ops;show' {
            break
        }
        'mainstay;help;ops;resolve' {
            break
        }
        'mainstay;help;ops;reveal' {
            break
        }
        'mainstay;help;ops;query' {
            break
        }
        'mainstay;help;ops;redispatch' {
            break
        }
        'mainstay;help;breakers' {
            [CompletionResult]::new('ls', 'ls', [CompletionResultType]::ParameterValue, 'List circuit breakers (the same as no command)')
            [CompletionResult]::new('force', 'force', [CompletionResultType]::ParameterValue, 'Hold a breaker where it is put, for a time, or until it is released or the proxy ends')
            [CompletionResult]::new('release', 'release', [CompletionResultType]::ParameterValue, 'Let a held breaker go: closed, with nothing counted')
            break
        }
        'mainstay;help;breakers;ls' {
            break
        }
        'mainstay;help;breakers;force' {
            break
        }
        'mainstay;help;breakers;release' {
            break
        }
        'mainstay;help;routes' {
            break
        }
        'mainstay;help;upstreams' {
            break
        }
        'mainstay;help;limits' {
            break
        }
        'mainstay;help;log-level' {
            break
        }
        'mainstay;help;reload' {
            break
        }
        'mainstay;help;audit' {
            break
        }
        'mainstay;help;drain' {
            break
        }
        'mainstay;help;probe' {
            break
        }
        'mainstay;help;ledger' {
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Check the file and everything that must hold in it; 0 if nothing is wrong, else 1')
            [CompletionResult]::new('stats', 'stats', [CompletionResultType]::ParameterValue, 'Show counts and sizes')
            [CompletionResult]::new('backup', 'backup', [CompletionResultType]::ParameterValue, 'Copy it to a file, also beside the proxy that writes it; the copy is checked')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Put a copy where a ledger was lost, and say what it has forgotten; nothing is written over')
            [CompletionResult]::new('lift', 'lift', [CompletionResultType]::ParameterValue, 'End the quarantine of a restored copy: keys without a record are new again. No proxy may run on it')
            [CompletionResult]::new('salvage', 'salvage', [CompletionResultType]::ParameterValue, 'Print what can still be read of a damaged ledger, as `export` does; 1 if something could not be')
            [CompletionResult]::new('rekey', 'rekey', [CompletionResultType]::ParameterValue, 'Seal everything with the first key of the key file, so that no other is needed. No proxy may run on it')
            [CompletionResult]::new('schema', 'schema', [CompletionResultType]::ParameterValue, 'The schema of a ledger in PostgreSQL: the SQL that makes or migrates it, for whoever owns the database')
            [CompletionResult]::new('replicas', 'replicas', [CompletionResultType]::ParameterValue, 'List the replicas that share a ledger in PostgreSQL, and those that ended within the last day')
            [CompletionResult]::new('fence', 'fence', [CompletionResultType]::ParameterValue, 'Take a replica of a ledger in PostgreSQL out by hand: the others take over what it owns, and it sends nothing more')
            [CompletionResult]::new('export', 'export', [CompletionResultType]::ParameterValue, 'Print the document of every operation, a line of JSON each: no bodies, no keys')
            break
        }
        'mainstay;help;ledger;check' {
            break
        }
        'mainstay;help;ledger;stats' {
            break
        }
        'mainstay;help;ledger;backup' {
            break
        }
        'mainstay;help;ledger;restore' {
            break
        }
        'mainstay;help;ledger;lift' {
            break
        }
        'mainstay;help;ledger;salvage' {
            break
        }
        'mainstay;help;ledger;rekey' {
            break
        }
        'mainstay;help;ledger;schema' {
            break
        }
        'mainstay;help;ledger;replicas' {
            break
        }
        'mainstay;help;ledger;fence' {
            break
        }
        'mainstay;help;ledger;export' {
            break
        }
        'mainstay;help;openapi' {
            break
        }
        'mainstay;help;completion' {
            break
        }
        'mainstay;help;man' {
            break
        }
        'mainstay;help;version' {
            break
        }
        'mainstay;help;demo' {
            break
        }
        'mainstay;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
