"""train(plan): the only stage that imports torch. One process per device."""
