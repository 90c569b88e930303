%% Who this node is, as little as it takes to tell.
%%
%% Gives {Release, UptimeMs, Applications, Hidden, Creation}: applications are undefined when their controller does not
%% answer; hidden is whether it was started so that others do not see it among nodes(); the creation is another one
%% each time the node joins its EPMD, also after init:restart/0, which the uptime does not show.
{
    erlang:system_info(otp_release),
    erlang:convert_time_unit(erlang:monotonic_time() - erlang:system_info(start_time), native, millisecond),
    try application:which_applications() catch exit:{timeout, _} -> undefined end,
    init:get_argument(hidden) =/= error,
    erlang:system_info(creation)
}
