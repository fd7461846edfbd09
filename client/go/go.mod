module snowflakes

go 1.18
