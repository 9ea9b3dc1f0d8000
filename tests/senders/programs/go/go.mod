module example.org/sender

go 1.21

require github.com/SherClockHolmes/webpush-go v1.4.0
