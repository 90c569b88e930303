%% Who is online where, in the ETS table presence_local; its rows are {User, #presence_entry{}}.
%%
%% Entries expire 30 s after their last heartbeat, and no edge sends one. So a user who has been
%% connected for longer looks offline to everybody but their own edge.
-module(iris_presence).
-behaviour(gen_server).

-export([start_link/0]).
-export([register/3, unregister/1, heartbeat/1, lookup/1, lookup_local/1, get_all_local/0, get_stats/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(TABLE, presence_local).

-record(presence_entry, {user :: binary(),
                         node :: node(),
                         pid :: pid(),
                         timestamp :: integer(),
                         last_heartbeat :: integer()}).

-type place() :: {ok, node(), pid()}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec register(binary(), node(), pid()) -> ok.
register(User, Node, Pid) ->
    Now = now_ms(),
    Entry = #presence_entry{user = User, node = Node, pid = Pid, timestamp = Now, last_heartbeat = Now},
    true = ets:insert(?TABLE, {User, Entry}),
    gen_server:cast(?MODULE, {count, registers, 1}).

-spec unregister(binary()) -> ok.
unregister(User) ->
    true = ets:delete(?TABLE, User),
    gen_server:cast(?MODULE, {count, unregisters, 1}).

-spec heartbeat(binary()) -> ok | {error, not_found}.
heartbeat(User) ->
    case ets:lookup(?TABLE, User) of
        [{User, Entry}] ->
            true = ets:insert(?TABLE, {User, Entry#presence_entry{last_heartbeat = now_ms()}}),
            ok;
        [] ->
            {error, not_found}
    end.

%% A user who is not registered on this node is asked for at the owner of the user's shard. That
%% process is never started, so the call exits with noproc: the fault that callers must live with.
-spec lookup(binary()) -> place() | {error, not_found}.
lookup(User) ->
    case lookup_local(User) of
        {ok, Node, Pid} -> {ok, Node, Pid};
        {error, _} -> gen_server:call(iris_shard, {lookup, User})
    end.

%% Not a mere question: an expired entry is deleted.
-spec lookup_local(binary()) -> place() | {error, not_found | expired}.
lookup_local(User) ->
    case ets:lookup(?TABLE, User) of
        [] ->
            {error, not_found};
        [{User, #presence_entry{node = Node, pid = Pid, last_heartbeat = Heartbeat}}] ->
            case now_ms() - Heartbeat > expiry_ms() of
                false ->
                    {ok, Node, Pid};
                true ->
                    true = ets:delete(?TABLE, User),
                    {error, expired}
            end
    end.

-spec get_all_local() -> [{binary(), node(), pid()}].
get_all_local() ->
    [{User, Entry#presence_entry.node, Entry#presence_entry.pid} || {User, Entry} <- ets:tab2list(?TABLE)].

-spec get_stats() -> #{atom() => non_neg_integer()}.
get_stats() ->
    gen_server:call(?MODULE, get_stats).

-spec init([]) -> {ok, map()}.
init([]) ->
    ?TABLE = ets:new(?TABLE, [named_table, public, set, {read_concurrency, true}, {write_concurrency, true}]),
    schedule_cleanup(),
    {ok, maps:from_keys([registers, unregisters, lookups, expirations, broadcasts_sent, broadcasts_received], 0)}.

-spec handle_call(term(), gen_server:from(), map()) -> {reply, term(), map()}.
handle_call(get_stats, _From, Stats) ->
    {reply, Stats#{table_size => ets:info(?TABLE, size)}, Stats};
handle_call(_Request, _From, Stats) ->
    {reply, ok, Stats}.

-spec handle_cast(term(), map()) -> {noreply, map()}.
handle_cast({count, What, N}, Stats) ->
    {noreply, count(What, N, Stats)};
handle_cast(_Message, Stats) ->
    {noreply, Stats}.

-spec handle_info(term(), map()) -> {noreply, map()}.
handle_info(cleanup, Stats) ->
    schedule_cleanup(),
    Oldest = now_ms() - expiry_ms(),
    Expired = [User || {User, #presence_entry{last_heartbeat = Heartbeat}} <- ets:tab2list(?TABLE), Heartbeat < Oldest],
    lists:foreach(fun(User) -> ets:delete(?TABLE, User) end, Expired),
    {noreply, count(expirations, length(Expired), Stats)};
handle_info(_Info, Stats) ->
    {noreply, Stats}.

count(What, N, Stats) ->
    maps:update_with(What, fun(Sum) -> Sum + N end, Stats).

schedule_cleanup() ->
    erlang:send_after(application:get_env(iris_core, presence_cleanup_ms, 5000), self(), cleanup).

expiry_ms() ->
    application:get_env(iris_core, presence_expiry_ms, 30000).

now_ms() ->
    erlang:system_time(millisecond).
