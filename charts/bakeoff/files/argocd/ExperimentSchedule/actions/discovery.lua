local held = obj.spec.suspend == true

return {
  suspend = { iconClass = "fa fa-fw fa-pause", disabled = held },
  resume = { iconClass = "fa fa-fw fa-play", disabled = not held },
}
