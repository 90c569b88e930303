%% RPC that stops asking a node which has failed five times in a row, for 30 seconds.
-module(iris_circuit_breaker).
-behaviour(gen_server).

-export([start_link/0, call/4, get_all_status/0]).
-export([init/1, handle_call/3, handle_cast/2]).

-define(TABLE, iris_circuit_breaker_ets).
-define(FAILURE_LIMIT, 5).
-define(SUCCESS_LIMIT, 3).
-define(RESET_MS, 30000).
-define(CALL_MS, 5000).

-record(breaker, {status = closed :: closed | open | half_open,
                  failures = 0 :: non_neg_integer(),
                  successes = 0 :: non_neg_integer(),
                  opened_ms = 0 :: integer(),
                  latency_ms = 0.0 :: float(),
                  calls = 0 :: non_neg_integer()}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec call(node(), module(), atom(), [term()]) -> term() | {badrpc, term()} | {error, circuit_open}.
call(Node, Module, Function, Args) ->
    case is_open(Node) of
        true ->
            {error, circuit_open};
        false ->
            Start = now_ms(),
            case rpc:call(Node, Module, Function, Args, ?CALL_MS) of
                {badrpc, _} = Failure ->
                    gen_server:cast(?MODULE, {failure, Node}),
                    Failure;
                Result ->
                    gen_server:cast(?MODULE, {success, Node, now_ms() - Start}),
                    Result
            end
    end.

-spec get_all_status() -> #{node() => map()}.
get_all_status() ->
    gen_server:call(?MODULE, get_all_status).

%% The table holds {Node, #breaker{}}: callers read it without asking this process.

-spec init([]) -> {ok, nostate}.
init([]) ->
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    {ok, nostate}.

-spec handle_call(term(), gen_server:from(), nostate) -> {reply, term(), nostate}.
handle_call(get_all_status, _From, State) ->
    {reply, maps:from_list([{Node, describe(Breaker)} || {Node, Breaker} <- ets:tab2list(?TABLE)]), State};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_request}, State}.

-spec handle_cast(term(), nostate) -> {noreply, nostate}.
handle_cast({success, Node, Latency}, State) ->
    true = ets:insert(?TABLE, {Node, succeeded(breaker(Node), Latency)}),
    {noreply, State};
handle_cast({failure, Node}, State) ->
    true = ets:insert(?TABLE, {Node, failed(breaker(Node))}),
    {noreply, State};
handle_cast(_Message, State) ->
    {noreply, State}.

is_open(Node) ->
    case breaker(Node) of
        #breaker{status = open, opened_ms = Opened} -> now_ms() - Opened < ?RESET_MS;
        #breaker{} -> false
    end.

breaker(Node) ->
    case ets:lookup(?TABLE, Node) of
        [{Node, Breaker}] -> Breaker;
        [] -> #breaker{}
    end.

succeeded(#breaker{status = closed} = Breaker, Latency) ->
    (measured(Breaker, Latency))#breaker{failures = 0};
succeeded(#breaker{successes = Successes} = Breaker, Latency) when Successes + 1 >= ?SUCCESS_LIMIT ->
    (measured(Breaker, Latency))#breaker{status = closed, failures = 0, successes = 0};
succeeded(#breaker{successes = Successes} = Breaker, Latency) ->
    (measured(Breaker, Latency))#breaker{status = half_open, successes = Successes + 1}.

failed(#breaker{status = closed, failures = Failures} = Breaker) when Failures + 1 < ?FAILURE_LIMIT ->
    Breaker#breaker{failures = Failures + 1};
failed(#breaker{failures = Failures} = Breaker) ->
    Breaker#breaker{status = open, failures = Failures + 1, successes = 0, opened_ms = now_ms()}.

measured(#breaker{calls = 0} = Breaker, Latency) ->
    Breaker#breaker{calls = 1, latency_ms = float(Latency)};
measured(#breaker{calls = Calls, latency_ms = Mean} = Breaker, Latency) ->
    Breaker#breaker{calls = Calls + 1, latency_ms = Mean * 0.9 + Latency * 0.1}.

describe(#breaker{} = Breaker) ->
    #{status => Breaker#breaker.status,
      failures => Breaker#breaker.failures,
      successes_in_half_open => Breaker#breaker.successes,
      avg_latency_ms => round(Breaker#breaker.latency_ms),
      total_calls => Breaker#breaker.calls,
      reset_timeout_ms => ?RESET_MS}.

now_ms() ->
    os:system_time(millisecond).
