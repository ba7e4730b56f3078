module bakeoff.dev/dev/pause

go 1.23
