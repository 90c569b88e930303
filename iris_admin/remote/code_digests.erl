%% The code that this node runs of some applications: the MD5 of each module that is loaded, and who holds which table.
%% Nothing is loaded for it.
%%
%% Max: report no more modules.
%%
%% Gives {Cut, [{Module, MD5}], Tables}; Tables is [{Table, Storage}], or undefined where Mnesia does not run.
Applications = [Name || {Name, _, _} <- application:loaded_applications()],
Modules = lists:usort(lists:append([
    case application:get_key(Name, modules) of {ok, Names} -> Names; undefined -> [] end
 || Name <- Applications
])),
Loaded = [Module || Module <- Modules, erlang:module_loaded(Module)],
{
    length(Loaded) > Max,
    [{Module, try Module:module_info(md5) catch error:_ -> undefined end} || Module <- lists:sublist(Loaded, Max)],
    case lists:keymember(mnesia, 1, try application:which_applications(2000) catch exit:_ -> [] end) of
        true -> [{Table, mnesia:table_info(Table, storage_type)} || Table <- mnesia:system_info(tables)];
        false -> undefined
    end
}
