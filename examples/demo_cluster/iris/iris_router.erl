%% The way from one user to another.
-module(iris_router).

-export([route/2]).

-spec route(binary(), binary()) -> ok.
route(User, Msg) ->
    iris_async_router:route(User, Msg).
