%% How much pressure this core is under: level 1 (normal), 2 (slow), 3 (shed load), 4 (critical).
%% This demo admits everything; it sheds nothing.
%%
%% The share of the processor is only known while somebody has switched scheduler_wall_time on. So whoever
%% does that on a live node may push the level up.
-module(iris_flow_controller).
-behaviour(gen_server).

-export([start_link/0, get_level/0, get_stats/0]).
-export([init/1, handle_call/3, handle_cast/2]).

-define(DEFAULT_MEMORY_LIMIT, 8 * 1024 * 1024 * 1024).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec get_level() -> 1..4.
get_level() ->
    level(memory_fraction(), cpu_fraction()).

%% The two figures named percent are fractions of 1, as in the real system.
-spec get_stats() -> map().
get_stats() ->
    gen_server:call(?MODULE, get_stats).

-spec init([]) -> {ok, nostate}.
init([]) ->
    {ok, nostate}.

-spec handle_call(term(), gen_server:from(), nostate) -> {reply, term(), nostate}.
handle_call(get_stats, _From, State) ->
    Memory = memory_fraction(),
    Cpu = cpu_fraction(),
    {reply, #{level => level_name(level(Memory, Cpu)),
              memory_percent => Memory,
              cpu_percent => Cpu,
              cascade_detected => false,
              admitted => 0,
              rejected => 0,
              shed_by_fanout => 0,
              core_health => #{},
              high_fanout_dests => 0,
              shard_count => 16}, State};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_request}, State}.

-spec handle_cast(term(), nostate) -> {noreply, nostate}.
handle_cast(_Message, State) ->
    {noreply, State}.

memory_fraction() ->
    erlang:memory(total) / application:get_env(iris_core, max_memory_bytes, ?DEFAULT_MEMORY_LIMIT).

cpu_fraction() ->
    case erlang:statistics(scheduler_wall_time) of
        undefined ->
            0.0;
        Schedulers ->
            Active = lists:sum([Time || {_, Time, _} <- Schedulers]),
            Active / max(1, lists:sum([Time || {_, _, Time} <- Schedulers]))
    end.

level(Memory, Cpu) when Memory > 0.95; Cpu > 0.90 -> 4;
level(Memory, Cpu) when Memory > 0.85; Cpu > 0.70 -> 3;
level(Memory, _Cpu) when Memory > 0.70 -> 2;
level(_Memory, _Cpu) -> 1.

level_name(1) -> normal;
level_name(2) -> slow;
level_name(3) -> shed_load;
level_name(4) -> critical.
