%% How this node keeps each table of Mnesia, which runs there.
%%
%% Gives [{Table, Storage}].
[{Table, mnesia:table_info(Table, storage_type)} || Table <- mnesia:system_info(tables)]
