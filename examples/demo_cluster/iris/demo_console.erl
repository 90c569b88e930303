%% A way into a demo node that needs no distribution, so that tests can compare what a tool reports with
%% what the node itself says.
%%
%% Standard input:  one request a line, "Id Base64(Expressions)".
%% Standard output: "demo_console ready", then "demo_console Id ok Base64(Text)" or
%%                  "demo_console Id error Base64(Text)" for each request, as each one finishes.
%% At the end of the input the node stops, so that none outlives its owner.
-module(demo_console).

-export([start/0]).

-spec start() -> ok.
start() ->
    _ = spawn(fun() -> say("ready"), loop() end),
    ok.

loop() ->
    case io:get_line(user, "") of
        Line when is_list(Line) ->
            [Id, Encoded] = string:lexemes(string:trim(Line), " "),
            _ = spawn(fun() -> answer(Id, base64:decode(Encoded)) end),
            loop();
        _EofOrError ->
            init:stop()
    end.

answer(Id, Expressions) ->
    {Outcome, Text} =
        try evaluate(unicode:characters_to_list(Expressions)) of
            Value -> {"ok", io_lib:format("~0tp", [Value])}
        catch
            Class:Reason -> {"error", io_lib:format("~0tp", [{Class, Reason}])}
        end,
    say([Id, " ", Outcome, " ", base64:encode(unicode:characters_to_binary(Text))]).

evaluate(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text),
    {ok, Expressions} = erl_parse:parse_exprs(Tokens),
    {value, Value, _} = erl_eval:exprs(Expressions, erl_eval:new_bindings()),
    Value.

say(Text) ->
    io:put_chars(user, ["demo_console ", Text, "\n"]).
