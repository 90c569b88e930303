%% The core application: its start, its Mnesia tables, and the functions that edges call over RPC.
%%
%% Tables (all rows are plain tuples, users are binaries):
%%   offline_msg  bag, disc   {offline_msg, {User, Bucket} | User, TimestampMs, Binary | [Binary]}
%%   presence     set, ram    {presence, User, Node, Pid}      used only with presence_backend = mnesia
%%   user_meta    set, disc   {user_meta, User, BucketCount}
%%   user_status  set, disc   {user_status, User, LastSeenSeconds}
%%   revoked_tokens, dedup_log  set, disc; empty here, listed because operators look for them
-module(iris_core).
-behaviour(application).

-export([start/2, stop/1]).
-export([register_user/3, lookup_user/1]).
-export([store_offline/2, store_offline_durable/2, store_batch/2, retrieve_offline/1]).
-export([get_bucket_count/1, set_bucket_count/2]).
-export([update_status/2, get_status/1]).

-define(TABLE_LOAD_MS, 10000).

%% Application callbacks

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    ok = prepare_tables(),
    iris_core_sup:start_link().

-spec stop(term()) -> ok.
stop(_State) ->
    ok.

%% Presence

-spec register_user(binary(), node(), pid()) -> ok.
register_user(User, Node, Pid) ->
    case presence_backend() of
        ets -> iris_presence:register(User, Node, Pid);
        mnesia -> mnesia:dirty_write({presence, User, Node, Pid})
    end.

%% For a user who is not registered here this exits with noproc when presence lives in ETS: the
%% lookup goes on to a shard process that nobody starts.
-spec lookup_user(binary()) -> {ok, node(), pid()} | {error, not_found}.
lookup_user(User) ->
    case presence_backend() of
        ets ->
            iris_presence:lookup(User);
        mnesia ->
            case mnesia:dirty_read(presence, User) of
                [{presence, User, Node, Pid}] -> {ok, Node, Pid};
                [] -> {error, not_found}
            end
    end.

%% Offline messages

-spec store_offline(binary(), binary()) -> ok | {error, term()}.
store_offline(User, Msg) ->
    iris_offline_storage:store(User, Msg, get_bucket_count(User)).

%% ok means: written to the write-ahead log. The row appears in offline_msg at the next flush.
-spec store_offline_durable(binary(), binary()) -> ok | {error, durable_write_failed}.
store_offline_durable(User, Msg) ->
    case iris_durable_batcher:store(User, Msg, get_bucket_count(User)) of
        ok -> ok;
        {error, _Reason} -> {error, durable_write_failed}
    end.

-spec store_batch(binary(), [binary()]) -> ok | {error, term()}.
store_batch(User, Msgs) ->
    iris_offline_storage:store_batch(User, Msgs, get_bucket_count(User)).

%% Destructive: what it returns is no longer in the store.
-spec retrieve_offline(binary()) -> [binary()].
retrieve_offline(User) ->
    iris_offline_storage:retrieve(User, get_bucket_count(User)).

-spec get_bucket_count(binary()) -> pos_integer().
get_bucket_count(User) ->
    case mnesia:dirty_read(user_meta, User) of
        [{user_meta, User, Count}] -> Count;
        [] -> 1
    end.

-spec set_bucket_count(binary(), pos_integer()) -> {atomic, ok} | {aborted, term()}.
set_bucket_count(User, Count) ->
    mnesia:transaction(fun() -> mnesia:write({user_meta, User, Count}) end).

%% Status

-spec update_status(binary(), online | offline) -> ok.
update_status(_User, online) ->
    ok;
update_status(User, offline) ->
    case presence_backend() of
        ets -> iris_presence:unregister(User);
        mnesia -> mnesia:dirty_delete(presence, User)
    end,
    mnesia:dirty_write({user_status, User, os:system_time(second)}).

-spec get_status(binary()) -> {online, boolean(), non_neg_integer()}.
get_status(User) ->
    case is_present(presence_backend(), User) of
        true ->
            {online, true, 0};
        false ->
            case mnesia:dirty_read(user_status, User) of
                [{user_status, User, LastSeen}] -> {online, false, LastSeen};
                [] -> {online, false, 0}
            end
    end.

is_present(ets, User) ->
    element(1, iris_presence:lookup_local(User)) =:= ok;
is_present(mnesia, User) ->
    mnesia:dirty_read(presence, User) =/= [].

presence_backend() ->
    {ok, Backend} = application:get_env(iris_core, presence_backend),
    Backend.

%% Tables: a node that finds its own schema loads it; one that finds a living seed copies the seed's
%% tables; the first one creates them.

prepare_tables() ->
    Seeds = application:get_env(iris_core, join_seeds, []),
    LiveSeeds = [Seed || Seed <- Seeds, Seed =/= node(), has_tables(Seed)],
    case {mnesia:system_info(use_dir), LiveSeeds} of
        {true, _} -> load_tables();
        {false, [Seed | _]} -> copy_tables(Seed);
        {false, []} -> create_tables()
    end.

has_tables(Node) ->
    case rpc:call(Node, mnesia, system_info, [tables]) of
        Tables when is_list(Tables) -> lists:member(offline_msg, Tables);
        {badrpc, _} -> false
    end.

tables() ->
    [{presence, ram_copies, set, [user, node, pid]},
     {offline_msg, disc_copies, bag, [key, timestamp, msg]},
     {user_meta, disc_copies, set, [user, bucket_count]},
     {user_status, disc_copies, set, [user, last_seen]},
     {revoked_tokens, disc_copies, set, [jti, timestamp]},
     {dedup_log, disc_copies, set, [msg_id, timestamp]}].

table_names() ->
    [Name || {Name, _, _, _} <- tables()].

create_tables() ->
    %% The schema can only be written while Mnesia is down; OTP has started it as a dependency.
    stopped = mnesia:stop(),
    ok = mnesia:create_schema([node()]),
    ok = mnesia:start(),
    lists:foreach(
      fun({Name, Storage, Type, Attributes}) ->
              {atomic, ok} = mnesia:create_table(Name, [{Storage, [node()]}, {type, Type}, {attributes, Attributes}])
      end, tables()),
    ok = mnesia:wait_for_tables(table_names(), ?TABLE_LOAD_MS).

copy_tables(Seed) ->
    {ok, [_ | _]} = mnesia:change_config(extra_db_nodes, [Seed]),
    {atomic, ok} = mnesia:change_table_copy_type(schema, node(), disc_copies),
    lists:foreach(
      fun({Name, Storage, _Type, _Attributes}) ->
              {atomic, ok} = mnesia:add_table_copy(Name, node(), Storage)
      end, tables()),
    ok = mnesia:wait_for_tables(table_names(), ?TABLE_LOAD_MS).

load_tables() ->
    case mnesia:wait_for_tables(table_names(), ?TABLE_LOAD_MS) of
        ok ->
            ok;
        {timeout, Missing} ->
            %% Another core was the last one up and is away: what this node has is better than nothing.
            logger:warning("loading ~p without waiting for the other cores", [Missing]),
            lists:foreach(fun(Table) -> yes = mnesia:force_load_table(Table) end, Missing)
    end.
