%% Makes varied terms for the tests of the codec, the same ones for the same seed, and compares what came back.
-module(iris_admin_test_terms).

-export([write/3, differences/3]).

%% Write N terms to a file, each as a frame of {packet, 4}; several ways of encoding take turns.
write(File, Seed, N) ->
    Ways = {[], [compressed], [{minor_version, 1}], [{compressed, 9}, {minor_version, 2}], [{minor_version, 0}]},
    Frames = [begin
                  Way = element(I rem tuple_size(Ways) + 1, Ways),
                  Binary = term_to_binary(Term, Way),
                  <<(byte_size(Binary)):32, Binary/binary>>
              end || {I, Term} <- numbered(terms(Seed, N))],
    file:write_file(File, Frames).

%% Those terms that are not =:= to what the file holds in their place.
differences(File, Seed, N) ->
    {ok, Binary} = file:read_file(File),
    Back = [binary_to_term(Frame) || <<Size:32, Frame:Size/binary>> <= Binary],
    Terms = terms(Seed, N),
    N = length(Back),
    [{I, Term} || {{I, Term}, Other} <- lists:zip(numbered(Terms), Back), Term =/= Other].

numbered(Terms) ->
    lists:zip(lists:seq(1, length(Terms)), Terms).

terms(Seed, N) ->
    rand:seed(exsss, Seed),
    [term(I rem 6) || I <- lists:seq(1, N)].

term(0) ->
    leaf(rand:uniform(24));
term(Depth) ->
    case rand:uniform(9) of
        1 -> list_to_tuple(some(Depth, 6));
        2 -> some(Depth, 6);
        3 -> some(Depth, 3) ++ leaf(rand:uniform(24));
        4 -> maps:from_list(lists:zip(lists:duplicate(5, x), lists:duplicate(5, y)));
        5 -> map(Depth, 5);
        6 -> {offline_msg, {<<"bob">>, rand:uniform(100)}, rand:uniform(1 bsl 60), rand:bytes(rand:uniform(200))};
        7 -> [a | some(Depth, 2)];
        8 -> map(0, 60);
        _ -> term(0)
    end.

some(Depth, Most) ->
    [term(rand:uniform(Depth) - 1) || _ <- lists:seq(1, rand:uniform(Most + 1) - 1)].

map(Depth, Most) ->
    maps:from_list([{term(max(0, Depth - 2)), term(max(0, Depth - 1))} || _ <- lists:seq(1, rand:uniform(Most + 1) - 1)]).

leaf(1) -> element(rand:uniform(6), {true, false, undefined, '', 'an atom', '\x{3b4}\x{1f600}'});
leaf(2) -> list_to_atom(lists:duplicate(250 + rand:uniform(5), 16#3b4));
leaf(3) -> rand:uniform(300) - 20;
leaf(4) -> (1 bsl rand:uniform(70)) - rand:uniform(3);
leaf(5) -> -(1 bsl rand:uniform(70)) + rand:uniform(3);
leaf(6) -> rand:uniform(1 bsl 3000);
leaf(7) -> -(1 bsl 2039) - rand:uniform(2);
leaf(8) -> rand:normal() * math:pow(10, rand:uniform(600) - 300);
leaf(9) -> element(rand:uniform(4), {0.0, 1.0, -1.5e300, 2.2250738585072014e-308});
leaf(10) -> rand:bytes(rand:uniform(20) - 1);
leaf(11) -> <<(rand:bytes(rand:uniform(300)))/binary, 5:3>>;
leaf(12) -> <<(rand:uniform(128) - 1):(rand:uniform(7))>>;
leaf(13) -> [rand:uniform(256) - 1 || _ <- lists:seq(1, rand:uniform(20) - 1)];
leaf(14) -> lists:seq(1, element(rand:uniform(2), {10, 300}));
leaf(15) -> element(rand:uniform(3), {[], {}, #{}});
leaf(16) -> #{1 => int, 1.0 => float, true => atom, <<1>> => binary, [] => list, #{} => map, {1} => a, {1.0} => b};
leaf(17) -> self();
leaf(18) -> hd(erlang:ports());
leaf(19) -> persistent(reference, fun make_ref/0);
leaf(20) -> persistent(alias, fun() -> alias([explicit_unalias]) end);
leaf(21) -> remote(rand:uniform(4));
leaf(22) -> element(rand:uniform(3), {fun lists:map/2, fun erlang:'+'/2, fun 'No':'such fun'/255});
leaf(23) -> Number = rand:uniform(1000), fun(X) -> {X, Number, self()} end;
leaf(24) -> fun numbered/1.

%% The same value each time, so that the terms can be made a second time for comparison.
persistent(Name, Make) ->
    case get({?MODULE, Name}) of
        undefined -> put({?MODULE, Name}, Make()), get({?MODULE, Name});
        Value -> Value
    end.

remote(1) -> binary_to_term(<<131, 88, (node_name())/binary, 5:32, 6:32, 7:32>>);
remote(2) -> binary_to_term(<<131, 89, (node_name())/binary, 8:32, 7:32>>);
remote(3) -> binary_to_term(<<131, 120, (node_name())/binary, (1 bsl 40):64, 7:32>>);
remote(4) -> binary_to_term(<<131, 90, 3:16, (node_name())/binary, 7:32, 1:32, 2:32, 3:32>>).

node_name() ->
    <<119, 11, "db1@host.eu">>.
