# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mainstay_global_optspecs
    string join \n c/config= h/help V/version
end

function __fish_mainstay_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mainstay_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mainstay_using_subcommand
    set -l cmd (__fish_mainstay_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mainstay -n "__fish_mainstay_needs_command" -s c -l config -d 'The configuration: a YAML file, or a directory of them. Default: mainstay.yaml, if it is there' -r -F
complete -c mainstay -n "__fish_mainstay_needs_command" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_needs_command" -s V -l version -d 'Print version'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "run" -d 'Serve (the same as no command)'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "init" -d 'Ask what stands before what, look whether it is there, and write a first configuration'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "check" -d 'Validate a configuration; print worst cases per route, and warn about what cannot work'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "config" -d 'Show the effective configuration, what differs between two, and what may be written'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "explain" -d 'Say what a finding or a problem means, and what to do about it'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "status" -d 'How it goes, on one screen: exit code 0 if all is well, 1 if something needs somebody'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "top" -d 'The same again each second on the whole terminal, with the routes and the writes that are open'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "ops" -d 'Look at operations, and settle what the machine could not'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "breakers" -d 'Look at circuit breakers, and hold them open, closed or disabled'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "routes" -d 'List what is served, and how the last minute of it went'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "upstreams" -d 'List where calls go, and how many are on their way there'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "limits" -d 'List rate and concurrency limits, and how much of them is used'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "log-level" -d 'Say how much is logged, or have more or less of it'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "reload" -d 'Read the configuration again, and take it if it is valid'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "audit" -d 'Show who did what, the latest first'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "drain" -d 'Turn traffic away: readiness fails and clients are told to go elsewhere, while what comes is served; a preStop hook'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "probe" -d 'Ask whether a proxy is alive, or ready for traffic: exit code 0 or 1'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "ledger" -d 'Look into a ledger, copy it, put a copy in place: check, stats, backup, restore and more'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "openapi" -d 'Print what may be asked of a proxy, for programs: by clients, or by operators'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "completion" -d 'Print what a shell needs to complete this command line: mainstay completion bash'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "man" -d 'Write the manual pages'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "version" -d 'Say which build this is: version, commit, profile, target'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "demo" -d 'Tell the story of one timed-out write, from 504 to its settled outcome, on this machine'
complete -c mainstay -n "__fish_mainstay_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mainstay -n "__fish_mainstay_using_subcommand run" -s c -l config -d 'The configuration: a YAML file, or a directory of them. Default: mainstay.yaml, if it is there' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand run" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand init" -l port -d 'The port on which clients come' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand init" -l service -d 'The service behind: `http://127.0.0.1:9000`' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand init" -l write -d 'The path of writes that must not happen twice, with all below it: /payments. May be given several times' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand init" -l status -d 'How the service is asked what became of a write: \'GET /payments/by-ref/{key}\'; `none` if it cannot be' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand init" -l success -d 'What the answer says of a write that was done: \'/state=SUCCESS\', a JSON Pointer and a value. Without it, any 200' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand init" -s o -l output -d 'Where the configuration is written' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand init" -l force -d 'Write over a file that is there'
complete -c mainstay -n "__fish_mainstay_using_subcommand init" -l offline -d 'Do not look whether the service is there'
complete -c mainstay -n "__fish_mainstay_using_subcommand init" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand check" -s c -l config -d 'The same, as everywhere else' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand check" -l deny -d 'What makes the check fail beside errors' -r -f -a "warnings\t''"
complete -c mainstay -n "__fish_mainstay_using_subcommand check" -s o -l output -d 'How to say it: for people, or as a JSON list of findings' -r -f -a "text\t''
json\t''"
complete -c mainstay -n "__fish_mainstay_using_subcommand check" -l online -d 'Also resolve and connect to every endpoint, open the ledger to read, and ask each status endpoint about a key that nobody used; nothing is changed'
complete -c mainstay -n "__fish_mainstay_using_subcommand check" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and not __fish_seen_subcommand_from show diff live schema reference help" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and not __fish_seen_subcommand_from show diff live schema reference help" -f -a "show" -d 'Print the whole effective configuration, every default filled in'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and not __fish_seen_subcommand_from show diff live schema reference help" -f -a "diff" -d 'Print each setting that differs between two configurations: 0 if they mean the same, 1 if they do not'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and not __fish_seen_subcommand_from show diff live schema reference help" -f -a "live" -d 'Print the configuration that a running proxy serves, with its file, and why a reload was refused'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and not __fish_seen_subcommand_from show diff live schema reference help" -f -a "schema" -d 'Print the JSON Schema from which editors complete'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and not __fish_seen_subcommand_from show diff live schema reference help" -f -a "reference" -d 'Print every key as a page of Markdown: what it takes, its default, what it means'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and not __fish_seen_subcommand_from show diff live schema reference help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from show" -s c -l config -d 'The same, as everywhere else' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from show" -l reveal -d 'Also show what came from the environment, which is `«from ${NAME}»` otherwise'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from diff" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from live" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from reference" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "show" -d 'Print the whole effective configuration, every default filled in'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "diff" -d 'Print each setting that differs between two configurations: 0 if they mean the same, 1 if they do not'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "live" -d 'Print the configuration that a running proxy serves, with its file, and why a reload was refused'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "schema" -d 'Print the JSON Schema from which editors complete'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "reference" -d 'Print every key as a page of Markdown: what it takes, its default, what it means'
complete -c mainstay -n "__fish_mainstay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mainstay -n "__fish_mainstay_using_subcommand explain" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l watch -d 'Again and again, so long after each time [default: 2s]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l sort -d 'Which routes come first' -r -f -a "order\t'As they are configured: the first that matches counts'
rate\t'Those with the most requests'
errors\t'Those with the most failures'
p99\t'The slowest'
doubt\t'Those with the most writes that fell into doubt'"
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l once -d 'Print one frame and end, for scripts; its width is $COLUMNS, the terminal\'s, or 120'
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -f -a "ls" -d 'List what is open or needs a person, the oldest first (the same as no command)'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -f -a "tail" -d 'Tell what happens, as it happens: writes that change, breakers, configurations, the ledger; with --kind request, requests'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -f -a "find" -d 'Find the writes under a key that a caller sent'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -f -a "show" -d 'Tell the story of one operation, and what may be done next'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -f -a "resolve" -d 'Say what became of a write that is unknown, or take a flag away'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -f -a "settle" -d 'Say what became of a write that is unknown, or take a flag away'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -f -a "reveal" -d 'Show the key of a write, where the proxy\'s configuration allows it; who looked, and why, is kept'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -f -a "query" -d 'Ask the service now what became of a write'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -f -a "redispatch" -d 'Send a write again, byte for byte, where the service honours its key'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and not __fish_seen_subcommand_from ls tail find show resolve settle reveal query redispatch help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l state -d 'Only in this state' -r -f -a "pending\t''
succeeded\t''
failed\t''
not_executed\t''
unknown\t''"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l route -d 'Only of this route' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l upstream -d 'Only of this upstream' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l policy -d 'Only under this policy' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l trace -d 'Only of this trace' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l older -d 'Only older than this: 30s, 10m, 24h' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l since -d 'Only begun since then: 2h ago, or a time' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l until -d 'Only begun before then' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l reason -d 'Only for this reason: `conflict`, `resolve_exhausted`, `attempt_timeout`, ...' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l limit -d 'At most so many; 0 is all [default: 1000]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l watch -d 'Again and again, so long after each time [default: 2s]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l attention -d 'Only those that wait for a person'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l all -d 'Those that are settled, too'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l newest -d 'The latest first'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l group -d 'How many there are of each route and reason, instead of each'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l kind -d 'What is told, several with commas [default: operation,breaker,config,ledger]' -r -f -a "operation\t'A write that changed its state, or is flagged'
request\t'Requests: at most 20 of a second'
breaker\t'A circuit breaker that changed its state'
config\t'A configuration that was taken or refused'
ledger\t'A ledger that can no longer be written, or again'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l route -d 'Only what is about this route' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l upstream -d 'Only what is about this upstream' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l state -d 'Only operations that came into this state' -r -f -a "pending\t''
succeeded\t''
failed\t''
not_executed\t''
unknown\t''"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l count -d 'End after so many' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l attention -d 'Only operations that need a person'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from tail" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l key -d 'The key, without its quotes; `-` reads it from the standard input, where no list of processes shows it, or several, one a line' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l principal -d 'The caller whose key it is, where callers are told apart: with it every write is found, whether its service can be asked or not' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l upstream -d 'Only writes to this upstream' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l actor -d 'Who looks; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from find" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l key -d 'A key is no id: it leads to one' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l state -d 'Only in this state' -r -f -a "pending\t''
succeeded\t''
failed\t''
not_executed\t''
unknown\t''"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l route -d 'Only of this route' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l upstream -d 'Only of this upstream' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l policy -d 'Only under this policy' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l trace -d 'Only of this trace' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l older -d 'Only older than this: 30s, 10m, 24h' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l since -d 'Only begun since then: 2h ago, or a time' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l until -d 'Only begun before then' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l key -d 'A key is no id: it leads to one' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l as -d 'What became of the write, for good. `failed`: its caller is told that nothing was done and that a new key is safe; `not_executed` frees its key, so that a repeat executes. On a terminal both ask back' -r -f -a "succeeded\t'The service did it'
failed\t'The service decided against it'
not_executed\t'The service did nothing'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l reason -d 'Why; kept in the audit trail' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l actor -d 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l attention -d 'Only those that wait for a person'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l yes -d 'Without asking back: act on all that match, which are only shown otherwise; say `failed` or `not_executed` of several; acknowledge what is told to have happened'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l acknowledge -d 'The effect of a contradicted write has been taken back: the flag goes, its state stays, and with `not_executed` a repeat executes'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from resolve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l state -d 'Only in this state' -r -f -a "pending\t''
succeeded\t''
failed\t''
not_executed\t''
unknown\t''"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l route -d 'Only of this route' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l upstream -d 'Only of this upstream' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l policy -d 'Only under this policy' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l trace -d 'Only of this trace' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l older -d 'Only older than this: 30s, 10m, 24h' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l since -d 'Only begun since then: 2h ago, or a time' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l until -d 'Only begun before then' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l key -d 'A key is no id: it leads to one' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l as -d 'What became of the write, for good. `failed`: its caller is told that nothing was done and that a new key is safe; `not_executed` frees its key, so that a repeat executes. On a terminal both ask back' -r -f -a "succeeded\t'The service did it'
failed\t'The service decided against it'
not_executed\t'The service did nothing'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l reason -d 'Why; kept in the audit trail' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l actor -d 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l attention -d 'Only those that wait for a person'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l yes -d 'Without asking back: act on all that match, which are only shown otherwise; say `failed` or `not_executed` of several; acknowledge what is told to have happened'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l acknowledge -d 'The effect of a contradicted write has been taken back: the flag goes, its state stays, and with `not_executed` a repeat executes'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from settle" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l key -d 'A key is no id: it leads to one' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l reason -d 'Why; kept in the audit trail' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l actor -d 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from reveal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l state -d 'Only in this state' -r -f -a "pending\t''
succeeded\t''
failed\t''
not_executed\t''
unknown\t''"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l route -d 'Only of this route' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l upstream -d 'Only of this upstream' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l policy -d 'Only under this policy' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l trace -d 'Only of this trace' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l older -d 'Only older than this: 30s, 10m, 24h' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l since -d 'Only begun since then: 2h ago, or a time' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l until -d 'Only begun before then' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l key -d 'A key is no id: it leads to one' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l reason -d 'Why; kept in the audit trail' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l actor -d 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l attention -d 'Only those that wait for a person'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l yes -d 'Without asking back: act on all that match, which are only shown otherwise; say `failed` or `not_executed` of several; acknowledge what is told to have happened'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from query" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l state -d 'Only in this state' -r -f -a "pending\t''
succeeded\t''
failed\t''
not_executed\t''
unknown\t''"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l route -d 'Only of this route' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l upstream -d 'Only of this upstream' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l policy -d 'Only under this policy' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l trace -d 'Only of this trace' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l older -d 'Only older than this: 30s, 10m, 24h' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l since -d 'Only begun since then: 2h ago, or a time' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l until -d 'Only begun before then' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l key -d 'A key is no id: it leads to one' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l reason -d 'Why; kept in the audit trail' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l actor -d 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l attention -d 'Only those that wait for a person'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l yes -d 'Without asking back: act on all that match, which are only shown otherwise; say `failed` or `not_executed` of several; acknowledge what is told to have happened'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from redispatch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "ls" -d 'List what is open or needs a person, the oldest first (the same as no command)'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "tail" -d 'Tell what happens, as it happens: writes that change, breakers, configurations, the ledger; with --kind request, requests'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "find" -d 'Find the writes under a key that a caller sent'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "show" -d 'Tell the story of one operation, and what may be done next'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "resolve" -d 'Say what became of a write that is unknown, or take a flag away'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "reveal" -d 'Show the key of a write, where the proxy\'s configuration allows it; who looked, and why, is kept'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "query" -d 'Ask the service now what became of a write'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "redispatch" -d 'Send a write again, byte for byte, where the service honours its key'
complete -c mainstay -n "__fish_mainstay_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -f -a "ls" -d 'List circuit breakers (the same as no command)'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -f -a "force" -d 'Hold a breaker where it is put, for a time, or until it is released or the proxy ends'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -f -a "release" -d 'Let a held breaker go: closed, with nothing counted'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and not __fish_seen_subcommand_from ls force release help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l for -d 'Release it by itself after such a time, at most 24h' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l reason -d 'Why; kept in the audit trail' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l actor -d 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from force" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l reason -d 'Why; kept in the audit trail' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l actor -d 'Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from help" -f -a "ls" -d 'List circuit breakers (the same as no command)'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from help" -f -a "force" -d 'Hold a breaker where it is put, for a time, or until it is released or the proxy ends'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from help" -f -a "release" -d 'Let a held breaker go: closed, with nothing counted'
complete -c mainstay -n "__fish_mainstay_using_subcommand breakers; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand routes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand upstreams" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand limits" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l for -d 'Go back after so long to what the configuration says; without it, the next reload does' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l reason -d 'Why; kept in the audit trail' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l actor -d 'Who does it; kept in the audit trail [default: $USER@host]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand log-level" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l reason -d 'Why; kept in the audit trail' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l actor -d 'Who does it; kept in the audit trail [default: $USER@host]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l operation -d 'Only about this operation: its id, or what that begins with' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l newer -d 'Only what is newer than this: 30s, 10m, 24h' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l actor -d 'Only what this one did' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l action -d 'Only acts of this kind: resolve, query, redispatch, force, release, find, reveal, log-level, drain, reload, ...' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l limit -d 'At most so many; 0 is all' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand audit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l admin -d 'The proxy\'s admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l ca-file -d 'Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l server-name -d 'The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l identity -d 'The one URI its certificate must have instead of a name, as SPIFFE\'s do [default: $MAINSTAY_IDENTITY]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l bundle-file -d 'Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l cert-file -d 'Our certificate [default: $MAINSTAY_CERT_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l key-file -d 'The key of our certificate [default: $MAINSTAY_KEY_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l token-file -d 'The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
wide\t'For people, with everything that a table has'
json\t'As the proxy says it'
ids\t'Names only, one a line'"
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l color -d 'Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is' -r -f -a "auto\t'As the terminal and the environment say'
always\t'Also into files and pipes'
never\t'Never'"
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l scope -d 'Which listeners' -r -f -a "inbound\t'Where others call the service; its own calls go on as before'
all\t'Where the service calls others, too'"
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l wait -d 'Return only after so long, such as 5s' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l utc -d 'Moments in UTC, which they are in anyway'
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l local -d 'Moments in the time of this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -l undo -d 'Take a drain back: readiness returns, and clients are told nothing more; refused once SIGTERM has come'
complete -c mainstay -n "__fish_mainstay_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand probe" -l probes -d 'The proxy\'s probes listener [default: $MAINSTAY_PROBES, or http://127.0.0.1:9190]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand probe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "check" -d 'Check the file and everything that must hold in it; 0 if nothing is wrong, else 1'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "stats" -d 'Show counts and sizes'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "backup" -d 'Copy it to a file, also beside the proxy that writes it; the copy is checked'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "restore" -d 'Put a copy where a ledger was lost, and say what it has forgotten; nothing is written over'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "lift" -d 'End the quarantine of a restored copy: keys without a record are new again. No proxy may run on it'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "salvage" -d 'Print what can still be read of a damaged ledger, as `export` does; 1 if something could not be'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "rekey" -d 'Seal everything with the first key of the key file, so that no other is needed. No proxy may run on it'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "schema" -d 'The schema of a ledger in PostgreSQL: the SQL that makes or migrates it, for whoever owns the database'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "replicas" -d 'List the replicas that share a ledger in PostgreSQL, and those that ended within the last day'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "fence" -d 'Take a replica of a ledger in PostgreSQL out by hand: the others take over what it owns, and it sends nothing more'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "export" -d 'Print the document of every operation, a line of JSON each: no bodies, no keys'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and not __fish_seen_subcommand_from check stats backup restore lift salvage rekey schema replicas fence export help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from check" -l key-file -d 'The key file, if the ledger is sealed and no configuration says so' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from check" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from stats" -l key-file -d 'The key file, if the ledger is sealed and no configuration says so' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from stats" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from stats" -l json -d 'The same as -o json'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from backup" -l key-file -d 'The key file, if the ledger is sealed and no configuration says so' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from backup" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from restore" -l key-file -d 'The key file, if the ledger is sealed and no configuration says so' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from restore" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from restore" -l from -d 'The copy, as `mainstay ledger backup` made it' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from restore" -l quarantine -d 'Refuse keys without a record until they cannot be of lost writes any more (the longest `tombstone`), or until `lift`'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from lift" -l key-file -d 'The key file, if the ledger is sealed and no configuration says so' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from lift" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from lift" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from salvage" -l key-file -d 'The key file, if the ledger is sealed and no configuration says so' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from salvage" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from salvage" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from rekey" -l key-file -d 'The key file, if the ledger is sealed and no configuration says so' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from rekey" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from rekey" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from schema" -l from -d 'The version that is there already; 0 is none' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from schema" -l grant -d 'Also give this role what the proxy needs, which is no right to change the schema' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from schema" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from schema" -l sql -d 'Print the SQL that makes it, in one transaction'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from replicas" -s c -l config -d 'The configuration that names it. Default: mainstay.yaml, if it is there' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from replicas" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from replicas" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from fence" -l reason -d 'Why; it is kept in the audit trail' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from fence" -l actor -d 'Who you are, for the audit trail. Default: the user\'s name and the machine\'s' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from fence" -s c -l config -d 'The configuration that names it. Default: mainstay.yaml, if it is there' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from fence" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from fence" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from export" -l key-file -d 'The key file, if the ledger is sealed and no configuration says so' -r -F
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from export" -s o -l output -d 'For people, or for programs' -r -f -a "table\t'For people'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "check" -d 'Check the file and everything that must hold in it; 0 if nothing is wrong, else 1'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "stats" -d 'Show counts and sizes'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "backup" -d 'Copy it to a file, also beside the proxy that writes it; the copy is checked'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "restore" -d 'Put a copy where a ledger was lost, and say what it has forgotten; nothing is written over'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "lift" -d 'End the quarantine of a restored copy: keys without a record are new again. No proxy may run on it'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "salvage" -d 'Print what can still be read of a damaged ledger, as `export` does; 1 if something could not be'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "rekey" -d 'Seal everything with the first key of the key file, so that no other is needed. No proxy may run on it'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "schema" -d 'The schema of a ledger in PostgreSQL: the SQL that makes or migrates it, for whoever owns the database'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "replicas" -d 'List the replicas that share a ledger in PostgreSQL, and those that ended within the last day'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "fence" -d 'Take a replica of a ledger in PostgreSQL out by hand: the others take over what it owns, and it sends nothing more'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "export" -d 'Print the document of every operation, a line of JSON each: no bodies, no keys'
complete -c mainstay -n "__fish_mainstay_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mainstay -n "__fish_mainstay_using_subcommand openapi" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand completion" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand man" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand version" -s o -l output -d 'For people, or for programs' -r -f -a "text\t'As `--version` says it'
json\t'As one JSON document'"
complete -c mainstay -n "__fish_mainstay_using_subcommand version" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mainstay -n "__fish_mainstay_using_subcommand demo" -l port -d 'Mainstay\'s port on 127.0.0.1 [default: 8080 if free, else any free one]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand demo" -l service-port -d 'The payment service\'s port on 127.0.0.1 [default: 9000 if free, else any free one]' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand demo" -l replicas -d 'So many processes of Mainstay on one ledger, in a PostgreSQL that is found on this machine: from 2 to 9' -r
complete -c mainstay -n "__fish_mainstay_using_subcommand demo" -l once -d 'End after the story instead of staying up; exits with 0 only if every step held'
complete -c mainstay -n "__fish_mainstay_using_subcommand demo" -s h -l help -d 'Print help'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "run" -d 'Serve (the same as no command)'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "init" -d 'Ask what stands before what, look whether it is there, and write a first configuration'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "check" -d 'Validate a configuration; print worst cases per route, and warn about what cannot work'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "config" -d 'Show the effective configuration, what differs between two, and what may be written'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "explain" -d 'Say what a finding or a problem means, and what to do about it'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "status" -d 'How it goes, on one screen: exit code 0 if all is well, 1 if something needs somebody'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "top" -d 'The same again each second on the whole terminal, with the routes and the writes that are open'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "ops" -d 'Look at operations, and settle what the machine could not'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "breakers" -d 'Look at circuit breakers, and hold them open, closed or disabled'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "routes" -d 'List what is served, and how the last minute of it went'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "upstreams" -d 'List where calls go, and how many are on their way there'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "limits" -d 'List rate and concurrency limits, and how much of them is used'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "log-level" -d 'Say how much is logged, or have more or less of it'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "reload" -d 'Read the configuration again, and take it if it is valid'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "audit" -d 'Show who did what, the latest first'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "drain" -d 'Turn traffic away: readiness fails and clients are told to go elsewhere, while what comes is served; a preStop hook'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "probe" -d 'Ask whether a proxy is alive, or ready for traffic: exit code 0 or 1'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "ledger" -d 'Look into a ledger, copy it, put a copy in place: check, stats, backup, restore and more'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "openapi" -d 'Print what may be asked of a proxy, for programs: by clients, or by operators'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "completion" -d 'Print what a shell needs to complete this command line: mainstay completion bash'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "man" -d 'Write the manual pages'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "version" -d 'Say which build this is: version, commit, profile, target'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "demo" -d 'Tell the story of one timed-out write, from 504 to its settled outcome, on this machine'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and not __fish_seen_subcommand_from run init check config explain status top ops breakers routes upstreams limits log-level reload audit drain probe ledger openapi completion man version demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "show" -d 'Print the whole effective configuration, every default filled in'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "diff" -d 'Print each setting that differs between two configurations: 0 if they mean the same, 1 if they do not'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "live" -d 'Print the configuration that a running proxy serves, with its file, and why a reload was refused'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "schema" -d 'Print the JSON Schema from which editors complete'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "reference" -d 'Print every key as a page of Markdown: what it takes, its default, what it means'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "ls" -d 'List what is open or needs a person, the oldest first (the same as no command)'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "tail" -d 'Tell what happens, as it happens: writes that change, breakers, configurations, the ledger; with --kind request, requests'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "find" -d 'Find the writes under a key that a caller sent'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "show" -d 'Tell the story of one operation, and what may be done next'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "resolve" -d 'Say what became of a write that is unknown, or take a flag away'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "reveal" -d 'Show the key of a write, where the proxy\'s configuration allows it; who looked, and why, is kept'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "query" -d 'Ask the service now what became of a write'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "redispatch" -d 'Send a write again, byte for byte, where the service honours its key'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from breakers" -f -a "ls" -d 'List circuit breakers (the same as no command)'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from breakers" -f -a "force" -d 'Hold a breaker where it is put, for a time, or until it is released or the proxy ends'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from breakers" -f -a "release" -d 'Let a held breaker go: closed, with nothing counted'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "check" -d 'Check the file and everything that must hold in it; 0 if nothing is wrong, else 1'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "stats" -d 'Show counts and sizes'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "backup" -d 'Copy it to a file, also beside the proxy that writes it; the copy is checked'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "restore" -d 'Put a copy where a ledger was lost, and say what it has forgotten; nothing is written over'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "lift" -d 'End the quarantine of a restored copy: keys without a record are new again. No proxy may run on it'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "salvage" -d 'Print what can still be read of a damaged ledger, as `export` does; 1 if something could not be'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "rekey" -d 'Seal everything with the first key of the key file, so that no other is needed. No proxy may run on it'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "schema" -d 'The schema of a ledger in PostgreSQL: the SQL that makes or migrates it, for whoever owns the database'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "replicas" -d 'List the replicas that share a ledger in PostgreSQL, and those that ended within the last day'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "fence" -d 'Take a replica of a ledger in PostgreSQL out by hand: the others take over what it owns, and it sends nothing more'
complete -c mainstay -n "__fish_mainstay_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "export" -d 'Print the document of every operation, a line of JSON each: no bodies, no keys'
